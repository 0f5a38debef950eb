//! The key that was probably meant.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

/// At most this many candidates are compared: a file may hold any number of keys.
const CANDIDATES: usize = 1000;

/// The candidate that takes the fewest edits to become `key`, if that is at most half of its length.
pub(super) fn closest<'a>(key: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = key.len() / 2;
    candidates
        .filter(|candidate| candidate.len().abs_diff(key.len()) <= limit)
        .take(CANDIDATES)
        .map(|candidate| (distance(key.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|&(edits, _)| edits <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and substitutions of one byte.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, x) in a.iter().enumerate() {
        let mut left = row + 1;
        let mut diagonal = row;
        for (column, y) in b.iter().enumerate() {
            let Some(cell) = above.get_mut(column + 1) else { break };
            let edits = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, edits);
            left = edits;
        }
        if let Some(first) = above.first_mut() {
            *first = row + 1;
        }
    }
    above.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)]
        {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_similar_keys_are_suggested() {
        let keys = ["module.features.0.weight", "module.features.0.bias", "conv"];
        assert_eq!(closest("features.0.weight", keys.into_iter()), Some(keys[0]));
        assert_eq!(closest("features.0.weight", ["conv1_1_w", "x"].into_iter()), None);
        assert_eq!(closest("", keys.into_iter()), None);
    }
}
