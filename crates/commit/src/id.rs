//! Names of distributed transactions: a gtrid that says by itself where its decision is.
//!
//! Owns the bytes of gtrid and bqual. What XA RECOVER lists is read here, so no text from a server may do more than fail. It
//! must never accept another tool's branch as ours.

use std::fmt;

/// XA's formatID of our branches: "mesh" as a number.
pub const FORMAT_ID: u32 = 0x6d65_7368;
/// The first bytes of every gtrid.
const MAGIC: [u8; 4] = *b"dbm1";
const GTRID_BYTES: usize = 44;
const BQUAL_BYTES: usize = 4;

/// A shard, by a number that every proxy computes alike from the name of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u32);

impl Shard {
    /// From the name of a source: FNV-1a, which is stable across versions and machines.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut hash = 0x811c_9dc5_u32;
        for byte in name.bytes() {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        Self(hash)
    }
}

/// The number of a mesh, from the name of its sharding: proxies of one mesh have the same.
#[must_use]
pub fn mesh(name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// The name of a distributed transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gtrid {
    /// Which mesh it belongs to: another one on the same servers leaves it alone.
    pub mesh: u64,
    /// The shard with the row of its decision.
    pub home: Shard,
    /// The process that coordinates it.
    pub coordinator: u64,
    /// Which run of that process.
    pub epoch: u32,
    /// Counts on in one run.
    pub sequence: u64,
    /// When it began, in milliseconds since 1970 by the coordinator's clock.
    pub begun_ms: u64,
}

/// A name that is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOurs;

impl Gtrid {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(GTRID_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.mesh.to_be_bytes());
        bytes.extend_from_slice(&self.home.0.to_be_bytes());
        bytes.extend_from_slice(&self.coordinator.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.begun_ms.to_be_bytes());
        bytes
    }

    /// From its bytes.
    ///
    /// # Errors
    /// [`NotOurs`]: another length or another beginning.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotOurs> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(NotOurs)?;
        let (mesh, rest) = rest.split_first_chunk().ok_or(NotOurs)?;
        let (home, rest) = rest.split_first_chunk().ok_or(NotOurs)?;
        let (coordinator, rest) = rest.split_first_chunk().ok_or(NotOurs)?;
        let (epoch, rest) = rest.split_first_chunk().ok_or(NotOurs)?;
        let (sequence, rest) = rest.split_first_chunk().ok_or(NotOurs)?;
        let (begun_ms, rest) = rest.split_first_chunk().ok_or(NotOurs)?;
        if !rest.is_empty() {
            return Err(NotOurs);
        }
        Ok(Self {
            mesh: u64::from_be_bytes(*mesh),
            home: Shard(u32::from_be_bytes(*home)),
            coordinator: u64::from_be_bytes(*coordinator),
            epoch: u32::from_be_bytes(*epoch),
            sequence: u64::from_be_bytes(*sequence),
            begun_ms: u64::from_be_bytes(*begun_ms),
        })
    }

    /// From hexadecimal digits, as people type it.
    ///
    /// # Errors
    /// [`NotOurs`].
    pub fn from_hex(text: &str) -> Result<Self, NotOurs> {
        Self::decode(&unhex(text.trim_start_matches("0x"))?)
    }
}

/// Hexadecimal digits: what people see and type.
impl fmt::Display for Gtrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.encode()))
    }
}

impl fmt::Debug for Gtrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gtrid({self})")
    }
}

/// The name of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xid {
    /// The transaction.
    pub gtrid: Gtrid,
    /// The shard of the branch: the bqual.
    pub branch: Shard,
}

impl Xid {
    /// As XA statements want it: `X'…',X'…',1835365224`.
    #[must_use]
    pub fn literal(&self) -> String {
        let gtrid = hex(&self.gtrid.encode());
        let bqual = hex(&self.branch.0.to_be_bytes());
        format!("X'{gtrid}',X'{bqual}',{FORMAT_ID}")
    }

    /// From a row of `XA RECOVER CONVERT XID`: formatID, two lengths, data as `0x…`.
    ///
    /// # Errors
    /// [`NotOurs`]: somebody else's branch.
    pub fn listed(format: &str, gtrid: &str, bqual: &str, data: &str) -> Result<Self, NotOurs> {
        let ours = format.parse() == Ok(FORMAT_ID);
        let lengths = gtrid.parse() == Ok(GTRID_BYTES) && bqual.parse() == Ok(BQUAL_BYTES);
        if !ours || !lengths {
            return Err(NotOurs);
        }
        let data = unhex(data.strip_prefix("0x").ok_or(NotOurs)?)?;
        let (gtrid, bqual) = data.split_at_checked(GTRID_BYTES).ok_or(NotOurs)?;
        let bqual: [u8; BQUAL_BYTES] = bqual.try_into().map_err(|_| NotOurs)?;
        Ok(Self {
            gtrid: Gtrid::decode(gtrid)?,
            branch: Shard(u32::from_be_bytes(bqual)),
        })
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn unhex(text: &str) -> Result<Vec<u8>, NotOurs> {
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(NotOurs);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(NotOurs);
    }
    pairs
        .iter()
        .map(|[high, low]| {
            let byte = digit(*high)? * 16 + digit(*low)?;
            u8::try_from(byte).map_err(|_| NotOurs)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Xid {
        Xid {
            gtrid: Gtrid {
                mesh: 1,
                home: Shard::named("ds_0"),
                coordinator: 0x0102_0304_0506_0708,
                epoch: 9,
                sequence: 10,
                begun_ms: 1_700_000_000_000,
            },
            branch: Shard::named("ds_1"),
        }
    }

    #[test]
    fn names_come_back_from_what_servers_list() {
        let xid = example();
        let data = format!("0x{}{}", xid.gtrid, hex(&xid.branch.0.to_be_bytes()));
        assert_eq!(Xid::listed("1835365224", "44", "4", &data), Ok(xid));
        assert_eq!(
            Xid::listed(
                "1835365224",
                "44",
                "4",
                &data.to_uppercase().replacen("0X", "0x", 1)
            ),
            Ok(xid)
        );
        assert_eq!(Gtrid::from_hex(&xid.gtrid.to_string()), Ok(xid.gtrid));
        assert!(xid.gtrid.encode().len() <= 64);
    }

    #[test]
    fn others_branches_are_not_ours() {
        let data = format!("0x{}{}", example().gtrid, "00000000");
        for (format, gtrid, bqual, data) in [
            ("1", "44", "4", data.as_str()),
            ("1835365224", "43", "5", data.as_str()),
            ("1835365224", "44", "4", "0x6162"),
            ("1835365224", "44", "4", "abc"),
            ("1835365224", "44", "4", "0xé"),
            ("-1", "1", "0", "0x61"),
            ("", "", "", ""),
        ] {
            assert_eq!(
                Xid::listed(format, gtrid, bqual, data),
                Err(NotOurs),
                "{data}"
            );
        }
    }

    #[test]
    fn every_cut_and_every_longer_text_is_refused() {
        let bytes = example().gtrid.encode();
        for cut in 0..bytes.len() {
            assert_eq!(
                Gtrid::decode(bytes.get(..cut).unwrap_or_default()),
                Err(NotOurs)
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Gtrid::decode(&longer), Err(NotOurs));
    }

    #[test]
    fn the_numbers_of_names_stay_what_they_are() {
        // A change would orphan the branches that an older version left behind.
        assert_eq!(Shard::named("ds_0"), Shard(0x0ea6_4487));
        assert_eq!(mesh("default/orders"), 13_400_651_107_606_311_682);
    }
}
