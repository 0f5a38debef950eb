//! Suggestions for misspelt words and keys.

/// The candidate that `word` was most likely meant to be: it differs by at most a third of its letters (at least one edit is
/// always allowed; exchanging two neighbours is one edit), or begins with `word`. The first of several equally near ones.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic in the lengths, and no word of the notation is long.
    if word.len() > 32 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let allowed = |candidate: &str| (candidate.len().max(word.len()) / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, candidate), candidate))
        .filter(|&(distance, candidate)| {
            distance <= allowed(candidate) || (word.len() >= 3 && candidate.starts_with(&word))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// At most this many keys are compared: a file may hold any number.
const MAX_KEYS: usize = 1000;

/// The key of a file that was most likely meant to be `key`: at most half of its letters have to change.
pub(crate) fn nearest_key<'a>(key: &str, keys: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = key.len() / 2;
    keys.into_iter()
        .filter(|candidate| candidate.len().abs_diff(key.len()) <= limit)
        .take(MAX_KEYS)
        .map(|candidate| (strsim::levenshtein(key, candidate), candidate))
        .filter(|&(edits, _)| edits <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `` `a`, `b` and `c` ``.
pub(crate) fn enumerate<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest_key;

    #[test]
    fn only_similar_keys_are_suggested() {
        let keys = ["module.features.0.weight", "module.features.0.bias", "conv"];
        assert_eq!(nearest_key("features.0.weight", keys), Some(keys[0]));
        assert_eq!(nearest_key("features.0.weight", ["conv1_1_w", "x"]), None);
        assert_eq!(nearest_key("", keys), None);
    }
}
