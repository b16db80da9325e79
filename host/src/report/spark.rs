//! A series in one line of blocks.

/// `cells` blocks, each as high as the largest of the values it stands for, against `most`. A dot is zero: the lowest block is
/// already more than nothing.
pub(super) fn spark(values: &[f64], most: f64, cells: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if values.is_empty() {
        return String::new();
    }
    (0..cells)
        .map(|cell| {
            let (start, end) = (cell * values.len() / cells, (cell + 1) * values.len() / cells);
            let part = &values[start..end.max(start + 1)];
            let height = part.iter().copied().fold(0.0, f64::max);
            if height <= 0.0 || most <= 0.0 {
                return '·';
            }
            BLOCKS[((height / most * 8.0).ceil() as usize).clamp(1, 8) - 1]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_is_seen_however_many_values_share_a_cell() {
        let mut values = vec![0.0; 1_000];
        values[501] = 8.0;
        values[999] = 1.0;
        assert_eq!(spark(&values, 8.0, 10), "·····█···▁");
    }

    #[test]
    fn every_height_has_its_block_and_nothing_is_no_block() {
        let values: Vec<f64> = (0..9).map(f64::from).collect();
        assert_eq!(spark(&values, 8.0, 9), "·▁▂▃▄▅▆▇█");
        assert_eq!(spark(&[0.0, 0.0], 0.0, 4), "····");
        assert_eq!(spark(&[1.0, 2.0], 2.0, 4), "▄▄██");
        assert_eq!(spark(&[], 1.0, 9), "");
    }
}
