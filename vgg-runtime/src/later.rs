//! Transformed weights that are kept from the second inference on.
//!
//! To write hundreds of megabytes takes longer than to transform them, since the system has to find and clear the memory. So the
//! first inference transforms each block of weights where it needs it and forgets it again; what computes once only never pays for
//! the rest. The second inference transforms all weights and keeps them. The results have the same bits.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::aligned::Aligned;
use crate::memory::SharedBytes;

/// The weights of one layer, plain until they are transformed.
#[derive(Debug)]
pub(crate) struct Later {
    transformed: OnceLock<Aligned>,
    /// None once they are transformed.
    plain: Mutex<Option<Plain>>,
}

#[derive(Debug)]
struct Plain {
    weight: SharedBytes,
    /// Room for the transformed weights, untouched. None while somebody fills it.
    room: Option<Aligned>,
    /// Whether there was a first time.
    used: bool,
}

/// What an inference does with the weights of a layer.
pub(crate) enum Turn<'a> {
    /// Use these transformed ones.
    Transformed(&'a [f32]),
    /// Transform these where they are needed, and forget it.
    Plain(SharedBytes),
    /// Transform these into the room, and then [`Later::keep`] it.
    Fill(SharedBytes, Aligned),
}

impl Later {
    /// Weights whose transform takes `len` values. The room is reserved now, so that no inference allocates.
    pub(crate) fn new(weight: SharedBytes, len: usize) -> Self {
        let plain = Plain { weight, room: Some(Aligned::zeroed(len)), used: false };
        Self { transformed: OnceLock::new(), plain: Mutex::new(Some(plain)) }
    }

    /// What to do this time; the first time may go without keeping anything if `once` says so. No inference waits for another: while
    /// one fills the room, others go without.
    pub(crate) fn turn(&self, once: bool) -> Turn<'_> {
        if let Some(transformed) = self.transformed.get() {
            return Turn::Transformed(transformed.as_slice());
        }
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        match plain.as_mut() {
            Some(plain) => {
                let weight = plain.weight.clone();
                let again = core::mem::replace(&mut plain.used, true);
                match plain.room.take_if(|_| again || !once) {
                    Some(room) => Turn::Fill(weight, room),
                    None => Turn::Plain(weight),
                }
            }
            // Somebody has just kept them.
            None => Turn::Transformed(self.transformed.get().map_or(&[], Aligned::as_slice)),
        }
    }

    /// Keeps the room that [`Turn::Fill`] gave, gives the plain weights back, and returns what is kept.
    pub(crate) fn keep(&self, room: Aligned) -> &[f32] {
        let transformed = self.transformed.get_or_init(|| room);
        *self.plain.lock().unwrap_or_else(PoisonError::into_inner) = None;
        transformed.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_turn_fills_the_room_and_others_do_without() {
        let later = Later::new(SharedBytes::new(std::vec![7u8; 8]), 3);
        assert!(matches!(later.turn(true), Turn::Plain(weight) if weight.as_slice() == [7; 8]));
        let Turn::Fill(weight, mut room) = later.turn(true) else { panic!("the second turn fills the room") };
        assert_eq!((weight.as_slice(), room.as_slice()), (&[7; 8][..], &[0.0; 3][..]));
        assert!(matches!(later.turn(true), Turn::Plain(_)), "nobody waits for the one that fills it");
        room.as_mut_slice().fill(2.0);
        assert_eq!(later.keep(room), [2.0; 3]);
        for _ in 0..2 {
            assert!(matches!(later.turn(true), Turn::Transformed([2.0, 2.0, 2.0])));
        }
        assert!(later.plain.lock().unwrap().is_none(), "the plain weights are given back");
    }

    #[test]
    fn whoever_wants_them_kept_fills_the_room_at_once() {
        let later = Later::new(SharedBytes::new(std::vec![7u8; 8]), 3);
        let Turn::Fill(_, room) = later.turn(false) else { panic!("the first turn fills the room") };
        assert!(matches!(later.turn(false), Turn::Plain(_)));
        assert_eq!(later.keep(room).len(), 3);
    }
}
