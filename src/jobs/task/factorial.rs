//! Factorials, exact.

use num_bigint::BigUint;

use crate::error::Error;

/// The largest number whose factorial is worked out: 77,338 digits.
pub const MAX_FACTORIAL: i64 = 20_000;

/// The factorial in decimal digits. Takes tens of milliseconds at the bound.
///
/// # Errors
/// `InvalidArgument` below 0 and above [`MAX_FACTORIAL`].
pub fn factorial(n: i64) -> Result<String, Error> {
    match u64::try_from(n) {
        Ok(number) if n <= MAX_FACTORIAL => Ok(product(1, number).to_string()),
        _ => Err(Error::invalid(format!(
            "n: {n} is not between 0 and {MAX_FACTORIAL}"
        ))),
    }
}

/// The product of all numbers from `first` to `last`, 1 if there are none. Both
/// halves are of like size, which is what makes multiplication fast.
fn product(first: u64, last: u64) -> BigUint {
    if last.saturating_sub(first) < 8 {
        return (first..=last).map(BigUint::from).product();
    }
    let middle = first.midpoint(last);
    product(first, middle) * product(middle + 1, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_its_definition() {
        let mut expected = BigUint::from(1u8);
        for n in 0..=300u32 {
            expected *= n.max(1);
            assert_eq!(factorial(n.into()).unwrap(), expected.to_string());
        }
        assert_eq!(factorial(20).unwrap(), "2432902008176640000");
    }

    #[test]
    fn is_bounded_on_both_sides() {
        for wrong in [-1, i64::MIN, MAX_FACTORIAL + 1, i64::MAX] {
            assert!(factorial(wrong).unwrap_err().message.starts_with("n: "));
        }
        assert_eq!(factorial(10_000).unwrap().len(), 35_660);
        assert_eq!(factorial(MAX_FACTORIAL).unwrap().len(), 77_338);
    }
}
