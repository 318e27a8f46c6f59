//! Hexadecimal digits, without the machinery of `format!`: they stand in every branch and Session-ID.

/// Appends the last `digits` hexadecimal digits of `number`, in lower case; at most sixteen.
pub fn push_hex(out: &mut String, number: u64, digits: u32) {
    let digit = |place: u32| {
        let nibble = (number >> (place * 4)) & 15;
        char::from(b"0123456789abcdef"[nibble as usize])
    };
    out.extend((0..digits.min(16)).rev().map(digit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_format() {
        for number in [0, 1, 0xbeef, 0x0123_4567_89ab_cdef, u64::MAX] {
            let mut whole = String::from("x");
            push_hex(&mut whole, number, 16);
            assert_eq!(whole, format!("x{number:016x}"));
            let mut tail = String::new();
            push_hex(&mut tail, number, 4);
            assert_eq!(tail, format!("{:04x}", number & 0xffff));
        }
    }
}
