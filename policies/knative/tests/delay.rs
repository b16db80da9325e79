//! The scale-down delay within one slot, which no recording of Knative happens to show: it decides twice in a slot only from zero.

use tidegate_knative::Delay;

#[test]
fn the_largest_count_of_a_slot_stays_for_as_many_slots_as_the_delay_has() {
    let mut delay = Delay::new(4_000, 2_000).expect("there is a delay");
    let counts = [(0, 5), (500, 2), (1_999, 3), (2_000, 1), (3_999, 0), (4_000, 1), (6_000, 0)];
    let held: Vec<u32> = counts.map(|(at_ms, wanted)| delay.record(at_ms, wanted)).to_vec();
    assert_eq!(held, [5, 5, 5, 5, 5, 1, 1]);
}

#[test]
fn a_slot_that_has_begun_counts_and_no_delay_has_no_slots() {
    let mut delay = Delay::new(1, 2_000).expect("there is a delay");
    assert_eq!(
        [(0, 4), (1_000, 1), (2_000, 1)].map(|(at_ms, n)| delay.record(at_ms, n)),
        [4, 4, 1]
    );
    assert_eq!(Delay::new(0, 2_000), None);
}
