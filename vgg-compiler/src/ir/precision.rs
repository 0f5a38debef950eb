//! How the numbers of a parameter are written down.

use std::fmt;
use std::str::FromStr;

/// How the numbers of a parameter are written down. Whatever it is, the network computes with f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Precision {
    /// IEEE 754 binary32, four bytes.
    #[default]
    F32,
    /// IEEE 754 binary16, two bytes: 11 bits, up to 65504.
    F16,
    /// The upper half of an f32, two bytes: 8 bits and the range of f32.
    Bf16,
    /// A whole number from -127 to 127, one byte, times a scale of its row, which is an f32.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Int8];

    /// Its name on command lines and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of one number.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Int8 => 1,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|precision| precision.name() == text);
        found.ok_or_else(|| "expected f32, f16, bf16 or int8".to_owned())
    }
}
