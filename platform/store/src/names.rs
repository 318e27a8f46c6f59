//! Which names can be kept: what fits a SIP URI without escaping (RFC 3261 §25.1).

use crate::error::StoreError;

/// Longest user name.
pub const MAX_USER: usize = 64;
/// Longest domain (RFC 1035 §2.3.4).
pub const MAX_DOMAIN: usize = 253;

/// Checks a user name.
///
/// # Errors
/// [`StoreError::BadName`] with the rule it breaks.
pub fn check_user(name: &str) -> Result<(), StoreError> {
    // Unreserved and user-unreserved characters, without those that mean something in a console,
    // a CSV file or a digest (`,` `;` `?` `/` `:`).
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$".contains(&b);
    if name.is_empty() || name.len() > MAX_USER {
        return Err(bad("user", name, "it must have 1 to 64 characters"));
    }
    if !name.bytes().all(fits) {
        return Err(bad("user", name, "use letters, digits and - _ . ! ~ * ' ( ) & = + $"));
    }
    Ok(())
}

/// Checks a domain or address and gives it in lower case.
///
/// # Errors
/// [`StoreError::BadName`] with the rule it breaks.
pub fn check_domain(domain: &str) -> Result<String, StoreError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    if domain.is_empty() || domain.len() > MAX_DOMAIN {
        return Err(bad("domain", domain, "it must have 1 to 253 characters"));
    }
    if !domain.bytes().all(fits) {
        return Err(bad("domain", domain, "use a host name such as example.com, or an address"));
    }
    Ok(domain.to_ascii_lowercase())
}

/// Fewest digits of a number, an extension.
pub const MIN_DIGITS: usize = 2;
/// Most digits of a number (ITU-T E.164 §6).
pub const MAX_DIGITS: usize = 15;

/// Checks a telephone number and gives it without visual separators (RFC 3966 §5.1.1).
///
/// # Errors
/// [`StoreError::BadName`] with the rule it breaks.
pub fn check_number(number: &str) -> Result<String, StoreError> {
    let plain: String = number.chars().filter(|c| !" -.()/".contains(*c)).collect();
    let digits = plain.strip_prefix('+').unwrap_or(&plain);
    let fits = (MIN_DIGITS..=MAX_DIGITS).contains(&digits.len());
    if !fits || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad("number", number, "write 2 to 15 digits, a global number with + in front"));
    }
    Ok(plain)
}

fn bad(what: &'static str, key: &str, why: &'static str) -> StoreError {
    StoreError::BadName { what, key: key.chars().take(80).collect(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_escaping_are_refused() {
        assert!(check_user("alice+desk_1.2").is_ok());
        for name in ["", "a b", "a@b", "a:b", "a\r\nVia: x", "ä", &"x".repeat(65)] {
            assert!(check_user(name).is_err(), "{name:?}");
        }
        assert_eq!(check_domain("Example.COM").ok().as_deref(), Some("example.com"));
        assert!(check_domain("[::1]").is_ok());
        assert!(check_domain("exa mple").is_err());
    }

    #[test]
    fn numbers_lose_what_is_only_for_the_eye() {
        assert_eq!(check_number("+49 (30) 123-45.6").ok().as_deref(), Some("+4930123456"));
        assert_eq!(check_number("7001").ok().as_deref(), Some("7001"));
        for number in ["", "+", "1", "+49a", "++49", "1234567890123456", "12\r\n34"] {
            assert!(check_number(number).is_err(), "{number:?}");
        }
    }
}
