//! What of a peer's media is turned off: by a controller, for an announcement or for consent.

use super::PayloadType;

/// Something of a peer's media that can be turned off and on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaSwitch {
    /// All it sends.
    Block,
    /// Its sound: packets go on, silence is in them.
    Silence,
    /// Its telephone events.
    BlockDtmf,
}

/// What is turned off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gate {
    blocked: bool,
    silenced: bool,
    dtmf_blocked: bool,
}

impl Gate {
    /// Turns something off (`on` true) or on again.
    pub fn set(&mut self, switch: MediaSwitch, on: bool) {
        match switch {
            MediaSwitch::Block => self.blocked = on,
            MediaSwitch::Silence => self.silenced = on,
            MediaSwitch::BlockDtmf => self.dtmf_blocked = on,
        }
    }

    /// Whether nothing passes.
    pub fn blocks(self) -> bool {
        self.blocked
    }

    /// Whether everything passes.
    pub fn is_open(self) -> bool {
        self == Self::default()
    }

    /// Lets a packet's payload pass, as it is or silenced in place; false if it may not. Sound that
    /// has no silence of its own length (a codec with a memory) is held back instead.
    pub fn admit(self, payload_type: Option<&PayloadType>, payload: &mut [u8]) -> bool {
        if self.blocked {
            return false;
        }
        let is = |name: &str| payload_type.is_some_and(|p| p.encoding.eq_ignore_ascii_case(name));
        if is("telephone-event") {
            return !self.dtmf_blocked;
        }
        if self.silenced {
            // ITU-T G.711: the smallest positive value of each law.
            let silence = match () {
                () if is("PCMU") => 0xff,
                () if is("PCMA") => 0xd5,
                () => return false,
            };
            payload.fill(silence);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(encoding: &str) -> PayloadType {
        PayloadType { number: 0, encoding: encoding.into(), clock_rate: 8000 }
    }

    #[test]
    fn each_switch_stops_what_it_names() {
        let mut gate = Gate::default();
        let sound = [1, 2, 3];
        assert!(gate.is_open() && gate.admit(Some(&codec("opus")), &mut sound.clone()));
        gate.set(MediaSwitch::BlockDtmf, true);
        assert!(!gate.admit(Some(&codec("telephone-event")), &mut sound.clone()));
        assert!(gate.admit(Some(&codec("PCMU")), &mut sound.clone()));
        gate.set(MediaSwitch::Silence, true);
        let mut payload = sound;
        assert!(gate.admit(Some(&codec("pcma")), &mut payload));
        assert_eq!(payload, [0xd5; 3]);
        assert!(!gate.admit(Some(&codec("opus")), &mut payload), "no silence of that length");
        gate.set(MediaSwitch::Silence, false);
        gate.set(MediaSwitch::Block, true);
        assert!(!gate.admit(Some(&codec("PCMU")), &mut payload) && !gate.is_open());
    }
}
