//! What a reader says when it refuses a file.

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::weights) struct Problem {
    /// Lower case, without a full stop.
    pub(in crate::weights) text: String,
    /// When it is not the usual advice.
    pub(in crate::weights) help: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(text: impl Into<String>, help: &'static str) -> Self {
        Self { text: text.into(), help: Some(help) }
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self { text, help: None }
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// `text` from a file, short and with nothing in it that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    const SHOWN: usize = 100;
    let mut shown: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
