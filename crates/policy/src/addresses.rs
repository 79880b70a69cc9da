//! The addresses that a tier is lent to.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A block of addresses in CIDR notation, IPv4 or IPv6, as AWS compares it with `aws:SourceIp`. One address has one spelling: no bits
/// beyond the prefix, and a prefix that leaves something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange(IpNet);

/// A text that is no [`AddressRange`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no CIDR block.
    #[error(
        "`{0}` is no range of addresses: write `192.0.2.0/24`, `2001:db8::/32`, or `192.0.2.7/32` for one address"
    )]
    NotCidr(String),
    /// It names an address inside the block, so that it looks narrower than it is.
    #[error("`{0}` names an address inside its range: write `{1}`")]
    NotTheFirst(String, String),
    /// It is every address.
    #[error("`{0}` leaves no address out: leave `addresses` out instead")]
    Everything(String),
}

impl AddressRange {
    /// Longest part of a refused text that an error repeats.
    const SHOWN: usize = 64;

    /// Whether an address is in it.
    pub fn contains(&self, address: &IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for AddressRange {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let shown = || text.chars().filter(|character| !character.is_control()).take(Self::SHOWN).collect();
        let block: IpNet = text.parse().map_err(|_| AddressError::NotCidr(shown()))?;
        if block.prefix_len() == 0 {
            return Err(AddressError::Everything(shown()));
        }
        let whole = block.trunc();
        if whole != block {
            return Err(AddressError::NotTheFirst(shown(), whole.to_string()));
        }
        Ok(Self(block))
    }
}

impl TryFrom<String> for AddressRange {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_in_their_one_spelling() {
        for good in ["192.0.2.0/24", "192.0.2.7/32", "2001:db8::/32", "10.0.0.0/8", "::1/128"] {
            assert_eq!(good.parse::<AddressRange>().unwrap().to_string(), good);
        }
        for (bad, said) in [
            ("192.0.2.0", "no range"),
            ("192.0.2.0/33", "no range"),
            ("192.0.2.*/24", "no range"),
            ("", "no range"),
            ("192.0.2.1/24", "write `192.0.2.0/24`"),
            ("0.0.0.0/0", "leaves no address out"),
            ("::/0", "leaves no address out"),
        ] {
            let error = bad.parse::<AddressRange>().unwrap_err().to_string();
            assert!(error.contains(said), "{bad}: {error}");
        }
    }

    #[test]
    fn an_address_is_in_a_range_in_whichever_form_it_comes() {
        let range: AddressRange = "192.0.2.0/24".parse().unwrap();
        for (address, inside) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("::ffff:192.0.2.1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(range.contains(&address.parse().unwrap()), inside, "{address}");
        }
    }
}
