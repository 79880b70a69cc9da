//! The generated recovery code: 128 random bits, in a form for paper.
//!
//! 28 digits in groups of four, of Crockford's 32: no `i`, `l`, `o`, `u`. The last twelve bits are a check, so that a slip of the
//! pen is named as such and not as a wrong code. The slot's passphrase is the code as it is shown.

use std::fmt;

use secrecy::SecretSlice;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Randomness, SealError};

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 28;
const GROUP: usize = 4;
const CHECK_BITS: u32 = 12;

/// A recovery code.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(Zeroizing<[u8; 16]>);

/// Why a text is no recovery code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryCodeError {
    /// Another number of digits, or something that is none.
    #[error("a recovery code is seven groups of four letters and digits")]
    Form,
    /// A digit is wrong, or two changed places.
    #[error("the recovery code has a slip in it: its check digits do not fit")]
    Check,
}

impl RecoveryCode {
    /// Draws one.
    pub fn generate(random: &mut dyn Randomness) -> Result<Self, SealError> {
        let mut bits = Zeroizing::new([0; 16]);
        random.fill(bits.as_mut())?;
        Ok(Self(bits))
    }

    /// Reads one as people write it: in capitals or not, with dashes, spaces or neither, `o` for 0, `i` and `l` for 1.
    pub fn parse(text: &str) -> Result<Self, RecoveryCodeError> {
        let (mut bits, mut check, mut count) = (Zeroizing::new(0_u128), 0_u128, 0_usize);
        for character in text.bytes().filter(|byte| *byte != b'-' && !byte.is_ascii_whitespace()) {
            let digit = match character.to_ascii_lowercase() {
                b'o' => b'0',
                b'i' | b'l' => b'1',
                digit => digit,
            };
            let value = DIGITS.iter().position(|known| *known == digit).ok_or(RecoveryCodeError::Form)?;
            let value = u128::try_from(value).unwrap_or_default();
            // 25 digits are 125 bits; the next has three of the code and two of the check.
            match count {
                0..25 => *bits = *bits << 5 | value,
                25 => (*bits, check) = (*bits << 3 | value >> 2, value & 3),
                _ => check = check << 5 | value,
            }
            count += 1;
            if count > LENGTH {
                return Err(RecoveryCodeError::Form);
            }
        }
        if count != LENGTH {
            return Err(RecoveryCodeError::Form);
        }
        let code = Self(Zeroizing::new(bits.to_be_bytes()));
        if check == code.check() { Ok(code) } else { Err(RecoveryCodeError::Check) }
    }

    /// As it is shown, once: seven groups of four digits.
    pub fn shown(&self) -> Zeroizing<String> {
        let (bits, check) = (Zeroizing::new(u128::from_be_bytes(*self.0)), self.check());
        let mut shown = Zeroizing::new(String::with_capacity(LENGTH + LENGTH / GROUP));
        for at in 0..LENGTH {
            if at > 0 && at % GROUP == 0 {
                shown.push('-');
            }
            let value = match at {
                0..25 => *bits >> (123 - 5 * at),
                25 => *bits << 2 | check >> 10,
                _ => check >> (5 * (LENGTH - 1 - at)),
            };
            let digit = usize::try_from(value & 31).ok().and_then(|value| DIGITS.get(value));
            shown.extend(digit.map(|digit| char::from(*digit)));
        }
        shown
    }

    /// The bytes that open its slot.
    pub fn to_passphrase(&self) -> SecretSlice<u8> {
        SecretSlice::from(self.shown().as_bytes().to_vec())
    }

    fn check(&self) -> u128 {
        let mut hash = Sha256::new();
        hash.update(b"sorry recovery code v1");
        hash.update(*self.0);
        let digest = hash.finalize();
        let first = digest.iter().take(2).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        first >> (16 - CHECK_BITS)
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RecoveryCode(..)")
    }
}
