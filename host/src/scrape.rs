//! How many of a revision's replicas are asked each second what they have in flight. Pure; asking them is a backend's.

/// Half-width of a normal distribution's 95 % interval, squared, times a population variance of 100, over the square of the error
/// that is accepted, 5: `1.96² · 100 / 25`.
const SAMPLE_OF_INFINITELY_MANY: f64 = 1.96 * 1.96 * 100.0 / 25.0;
/// Up to so many replicas are all asked.
const ALL_UP_TO: u32 = 3;

/// Replicas to ask out of `ready` ones; what they say is multiplied by `ready` over this.
///
/// Knative's rule (`pkg/autoscaler/metrics/stats_scraper.go` of Serving 1.23): all of up to three, else the sample size with which a
/// mean over a finite population is within 5 of the truth in 95 of 100 cases; 16 at most.
///
/// ```
/// # use tidegate::scrape::sample_size;
/// assert_eq!([0, 3, 10, 1_000].map(sample_size), [0, 3, 7, 16]);
/// ```
pub fn sample_size(ready: u32) -> u32 {
    if ready <= ALL_UP_TO {
        return ready;
    }
    let population = f64::from(ready);
    let sample =
        population * SAMPLE_OF_INFINITELY_MANY / (population + SAMPLE_OF_INFINITELY_MANY - 1.0);
    sample.ceil() as u32
}
