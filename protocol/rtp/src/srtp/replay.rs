//! The replay list of RFC 3711 §3.3.2: the highest index and the 128 below it.

use crate::Error;

const WIDTH: u64 = 128;

/// Which indices were used. Empty until the first.
#[derive(Debug, Clone, Default)]
pub(super) struct ReplayWindow {
    highest: Option<u64>,
    bits: u128,
}

impl ReplayWindow {
    pub(super) fn restore(highest: Option<u64>, bits: u128) -> Self {
        Self { highest, bits }
    }

    pub(super) fn highest(&self) -> Option<u64> {
        self.highest
    }

    pub(super) fn bits(&self) -> u128 {
        self.bits
    }

    /// Whether `index` may still be used.
    pub(super) fn check(&self, index: u64) -> Result<(), Error> {
        let Some(highest) = self.highest else { return Ok(()) };
        match highest.checked_sub(index) {
            None => Ok(()),
            Some(age) if age >= WIDTH => Err(Error::TooOld),
            Some(age) if self.bits >> age & 1 == 1 => Err(Error::Replayed),
            Some(_) => Ok(()),
        }
    }

    /// Marks `index` as used. Call it after `check` and after authentication.
    pub(super) fn accept(&mut self, index: u64) {
        let Some(highest) = self.highest else {
            (self.highest, self.bits) = (Some(index), 1);
            return;
        };
        if index > highest {
            let step = index - highest;
            self.bits = if step >= WIDTH { 1 } else { self.bits << step | 1 };
            self.highest = Some(index);
        } else if highest - index < WIDTH {
            self.bits |= 1 << (highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_passes_once_in_any_order() {
        let mut w = ReplayWindow::default();
        for index in [1000, 1001, 1050, 999, 1049] {
            assert_eq!(w.check(index), Ok(()));
            w.accept(index);
            assert_eq!(w.check(index), Err(Error::Replayed));
        }
        assert_eq!(w.check(1050 - 127), Ok(()));
        assert_eq!(w.check(1050 - 128), Err(Error::TooOld));
        w.accept(5000);
        assert_eq!(w.check(1050), Err(Error::TooOld));
    }
}
