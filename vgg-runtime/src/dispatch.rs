//! Which vector instructions are used: asked once, turned into a token once per inference.

use crate::simd::{Portable, Simd};

/// The variable that forces a tier.
#[cfg(feature = "std")]
pub const ISA_VARIABLE: &str = "VGG_ISA";

/// A tier of vector instructions that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, on every machine.
    Portable,
    /// AVX2 with FMA and F16C. [`Isa::run`] falls back to the portable tier where the processor lacks them.
    Avx2,
    /// AVX-512 (F, VL, DQ, BW). [`Isa::run`] falls back to the portable tier where the processor lacks them.
    Avx512,
}

/// A computation that is generic over the tier, such as one inference.
pub trait Program {
    /// What it gives.
    type Output;

    /// Computes with the tier `S`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// Every tier of this machine, the widest last.
    pub fn available() -> &'static [Isa] {
        #[cfg(target_arch = "x86_64")]
        if crate::simd::Avx512::is_available() {
            return &[Isa::Portable, Isa::Avx2, Isa::Avx512];
        }
        #[cfg(target_arch = "x86_64")]
        if crate::simd::Avx2::is_available() {
            return &[Isa::Portable, Isa::Avx2];
        }
        &[Isa::Portable]
    }

    /// The widest tier of this machine.
    pub fn widest() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// The tier that `VGG_ISA` names, else the widest.
    ///
    /// # Errors
    /// When the variable names no tier, or one that this machine lacks.
    #[cfg(feature = "std")]
    pub fn detect() -> Result<Self, crate::Error> {
        match std::env::var_os(ISA_VARIABLE) {
            None => Ok(Self::widest()),
            Some(value) => Self::named(&value.to_string_lossy()),
        }
    }

    /// The tier of this name.
    ///
    /// # Errors
    /// When there is none, or this machine lacks it.
    #[cfg(feature = "std")]
    pub fn named(name: &str) -> Result<Self, crate::Error> {
        Self::available().iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
            let names = Self::available().iter().map(|isa| isa.name()).collect::<std::vec::Vec<_>>().join(" or ");
            crate::Error::Setting {
                name: ISA_VARIABLE,
                found: name.into(),
                expected: std::format!("{names} (what this machine has)"),
            }
        })
    }

    /// The name, as `VGG_ISA` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Runs `program` with the token of this tier.
    pub fn run<P: Program>(self, program: P) -> P::Output {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Avx512 => {
                if let Some(simd) = crate::simd::Avx512::new() {
                    return program.run(simd);
                }
            }
            Self::Avx2 => {
                if let Some(simd) = crate::simd::Avx2::new() {
                    return program.run(simd);
                }
            }
            Self::Portable => {}
        }
        program.run(Portable)
    }
}
