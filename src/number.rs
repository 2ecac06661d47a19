//! Numbers as people read them.

/// A decimal number with separators before its point: "-1,234.50".
pub fn thousands(plain: &str) -> String {
    let whole = plain.split('.').next().unwrap_or_default();
    let digits = whole.trim_start_matches('-').len();
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        let left = whole.len() - i;
        if left.is_multiple_of(3) && left < digits {
            out.push(',');
        }
        out.push(c);
    }
    out + &plain[whole.len()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_groups_of_three_are_separated() {
        for (plain, separated) in [
            ("0", "0"),
            ("999.99", "999.99"),
            ("-100", "-100"),
            ("-1000", "-1,000"),
            ("1234567.5", "1,234,567.5"),
        ] {
            assert_eq!(thousands(plain), separated);
        }
    }
}
