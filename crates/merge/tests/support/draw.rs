//! Random values, the same in every run.

/// A small generator (splitmix64).
#[derive(Debug, Clone)]
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `n - 1`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    /// A character of one of many scripts; `bmp` leaves out what is beyond.
    pub fn character(&mut self) -> char {
        let ranges: &[(u32, u32)] = &[
            (0x20, 0x7E),
            (0x20, 0x7E),
            (0x61, 0x66),
            (0x61, 0x66),
            (0x41, 0x46),
            (0x20, 0x20),
            (0x0, 0x20),
            (0xA0, 0x17F),
            (0x300, 0x36F),
            (0x370, 0x3FF),
            (0x400, 0x4FF),
            (0x5D0, 0x5EA),
            (0x620, 0x64A),
            (0x900, 0x97F),
            (0xE00, 0xE5B),
            (0xE80, 0xEDF),
            (0xF00, 0xFFF),
            (0x1100, 0x11FF),
            (0x1E00, 0x1EFF),
            (0x2000, 0x206F),
            (0x2100, 0x214F),
            (0x3040, 0x30FF),
            (0x3400, 0x3410),
            (0x4E00, 0x4E40),
            (0x9FD0, 0x9FFF),
            (0xAC00, 0xAC80),
            (0xD780, 0xD7A3),
            (0xE000, 0xE010),
            (0xF900, 0xF940),
            (0xFB00, 0xFB4F),
            (0xFDFA, 0xFDFB),
            (0xFF00, 0xFFEF),
            (0x1F600, 0x1F640),
            (0x10400, 0x1044F),
            (0x17000, 0x17010),
            (0x20000, 0x20010),
            (0x2B740, 0x2B750),
            (0x2F800, 0x2F810),
            (0xF0000, 0xF0010),
            (0x0, 0x10FFFF),
        ];
        loop {
            let (first, last) = *self.of(ranges);
            let code = first + self.below(u64::from(last - first + 1)) as u32;
            if let Some(character) = char::from_u32(code) {
                return character;
            }
        }
    }

    /// A short string with few letters or with many scripts, often with blanks at its end.
    pub fn string(&mut self) -> String {
        let mut text = String::new();
        let few = self.below(3) > 0;
        for _ in 0..self.below(if few { 4 } else { 7 }) {
            text.push(if few {
                *self.of(&[
                    'a', 'A', 'á', 'b', 'B', ' ', '\t', 'ß', 'é', 'e', '\u{301}', 'ä', 'z', '~',
                ])
            } else {
                self.character()
            });
        }
        for _ in 0..self.below(6).saturating_sub(3) {
            text.push(' ');
        }
        text
    }
}

/// A string as a literal.
pub fn literal(charset: &str, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("_{charset} x'{hex}'")
}
