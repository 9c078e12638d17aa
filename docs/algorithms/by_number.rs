//! A sharding algorithm for texts as `EU-1042`: the slot is the number behind the last dash, modulo the number of slots.
//!
//! `docs/sharding-algorithms.md` says how to build it.

#![no_std]
#![no_main]

use core::ptr::addr_of_mut;

/// Longest text of a key; dbmesh writes no more.
const TEXT_BYTES_MAX: usize = 1024;

/// More digits might be more than 64 bits.
const DIGITS_MAX: usize = 18;

static mut TEXT: [u8; TEXT_BYTES_MAX] = [0; TEXT_BYTES_MAX];

/// Where dbmesh writes the text of a key.
#[unsafe(no_mangle)]
extern "C" fn buffer() -> *mut u8 {
    addr_of_mut!(TEXT).cast()
}

/// The slot of the text in the buffer, or -1 if there is no place for it.
#[unsafe(no_mangle)]
extern "C" fn slot_text(length: u32, slots: u32) -> i32 {
    // SAFETY: dbmesh has written that many bytes, not more than there are, and calls nothing at the same time.
    let text = unsafe { core::slice::from_raw_parts(buffer(), length as usize) };
    // Not `%`: words of a panic would be put on a stack in memory, and what writes to memory is slower to call.
    match number(text).and_then(|number| number.checked_rem(u64::from(slots))) {
        Some(slot) => slot as i32,
        None => -1,
    }
}

/// The digits behind the last dash: 1 to 18 of them.
fn number(text: &[u8]) -> Option<u64> {
    let (mut number, mut unit) = (0_u64, 1_u64);
    for (digits, byte) in text.iter().rev().take(DIGITS_MAX + 1).enumerate() {
        match byte {
            b'0'..=b'9' if digits < DIGITS_MAX => number += u64::from(byte - b'0') * unit,
            b'-' if digits > 0 => return Some(number),
            _ => return None,
        }
        unit *= 10;
    }
    None
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
