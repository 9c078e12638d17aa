//! What modules may and may not do.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

const MODULO: &str = r#"(module
    (func (export "slot_integer") (param i64 i32) (result i32)
      (i32.wrap_i64 (i64.rem_u (local.get 0) (i64.extend_i32_u (local.get 1)))))
    (func (export "slots_between") (param i64 i64 i32) (result i64) (i64.const 127)))"#;
const LENGTH: &str = r#"(module (memory (export "memory") 1)
    (func (export "buffer") (result i32) (i32.const 16))
    (func (export "slot_text") (param i32 i32) (result i32)
      (i32.rem_u (i32.add (local.get 0) (i32.load8_u (i32.const 16))) (local.get 1))))"#;

fn module(wat: &str) -> Result<Module, String> {
    let module = Module::compile("own", &wat::parse_str(wat).unwrap())?;
    module.try_out(4)?;
    Ok(module)
}

#[test]
fn a_module_computes_slots() {
    let modulo = module(MODULO).unwrap();
    for key in 0..100 {
        assert_eq!(
            modulo.slot_of_integer(key, 7),
            Ok(Some(usize::try_from(key % 7).unwrap()))
        );
    }
    assert_eq!(modulo.slots_between(0, 9, 7), Some(127));
    assert_eq!(modulo.slots_between(0, 9, 65), None);
    assert_eq!(
        modulo.slot_of_integer(i128::from(u64::MAX), 7),
        Err(Failed::Key)
    );
    assert!(modulo.takes(KeyKind::Integer) && !modulo.takes(KeyKind::Text));
    let length = module(LENGTH).unwrap();
    assert_eq!(length.slot_of_text(b"\x01bc", 100), Ok(Some(4)));
    assert_eq!(
        length.slot_of_text(&[0; TEXT_BYTES_MAX + 1], 100),
        Err(Failed::Key)
    );
    assert!(length.takes(KeyKind::Collated) && !length.takes(KeyKind::Integer));
}

#[test]
fn wrong_modules_say_why() {
    let slot = |body: &str| {
        format!(r#"(module (func (export "slot_integer") (param i64 i32) (result i32) {body}))"#)
    };
    for (wat, expected) in [
        (r#"(module (import "env" "now" (func (result i64))))"#.to_owned(), "imports `env.now`"),
        ("(module)".to_owned(), "exports neither"),
        (r#"(module (func (export "slot_integer") (result i32) (i32.const 0)))"#.to_owned(), "another form"),
        (r#"(module (func (export "slot_text") (param i32 i32) (result i32) (i32.const 0)))"#.to_owned(), "needs `buffer`"),
        (slot("(unreachable)"), "fails for the key -9223372036854775808 and 4 slots"),
        (slot("(loop (br 0)) (i32.const 0)"), "fuel"),
        (slot("(i32.const 4)"), "slot 4 of 4"),
        (slot("(drop (f64.const 1)) (i32.const 0)"), "no module that may run here"),
        (
            r#"(module (memory 1000) (func (export "slot_integer") (param i64 i32) (result i32) (i32.const 0)))"#.to_owned(),
            "cannot be started",
        ),
        (
            r#"(module (func $s) (start $s) (func (export "slot_integer") (param i64 i32) (result i32) (i32.const 0)))"#.to_owned(),
            "",
        ),
        (LENGTH.replace("i32.const 16)", "i32.const 65000)"), "1024 bytes of memory"),
    ] {
        let why = module(&wat).err().unwrap_or_else(|| panic!("{wat}"));
        assert!(why.contains(expected), "{wat}: {why}");
    }
    assert!(Module::compile("own", b"\0asm").is_err());
}

#[test]
fn a_call_that_fails_spoils_nothing() {
    let wat = r#"(module (func (export "slot_integer") (param i64 i32) (result i32)
        (if (i64.eq (local.get 0) (i64.const 9)) (then (loop (br 0))))
        (if (i64.eq (local.get 0) (i64.const 8)) (then (unreachable)))
        (if (i64.eq (local.get 0) (i64.const 7)) (then (return (i32.const -1))))
        (i32.const 2)))"#;
    let module = module(wat).unwrap();
    for _ in 0..3 {
        for key in [8, 9] {
            assert!(
                matches!(module.slot_of_integer(key, 4), Err(Failed::Trap(_))),
                "{key}"
            );
        }
        assert_eq!(module.slot_of_integer(7, 4), Ok(None));
        assert_eq!(module.slot_of_integer(0, 4), Ok(Some(2)));
    }
}

#[test]
fn memory_does_not_grow_beyond_its_bound() {
    let wat = r#"(module (memory 1) (func (export "slot_integer") (param i64 i32) (result i32)
        (drop (memory.grow (i32.const 100))) (i32.gt_u (memory.size) (i32.const 64))))"#;
    let module = module(wat).unwrap();
    for key in 0..10 {
        assert_eq!(module.slot_of_integer(key, 4), Ok(Some(0)));
    }
}

#[test]
fn what_a_call_leaves_behind_is_gone_before_the_next() {
    // Both answer the keys that are tried at the start as pure functions do, and others by what came before.
    let global = r#"(module (global $seen (mut i32) (i32.const 0))
        (func (export "slot_integer") (param i64 i32) (result i32)
          (if (i64.eq (local.get 0) (i64.const 42)) (then (global.set $seen (i32.const 1))))
          (select (global.get $seen) (i32.const 3) (i64.eq (local.get 0) (i64.const 43)))))"#;
    let global = module(global).unwrap();
    let memory = r#"(module (memory 1) (func (export "slot_integer") (param i64 i32) (result i32)
          (if (i64.eq (local.get 0) (i64.const 42)) (then (i32.store8 (i32.const 8) (i32.const 1))))
          (select (i32.load8_u (i32.const 8)) (i32.const 3) (i64.eq (local.get 0) (i64.const 43)))))"#;
    let memory = module(memory).unwrap();
    for module in [global, memory] {
        assert!(module.keeps_state);
        for _ in 0..3 {
            assert_eq!(module.slot_of_integer(43, 4), Ok(Some(0)));
            assert_eq!(module.slot_of_integer(42, 4), Ok(Some(3)));
        }
    }
    let by_number = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/algorithms/by_number.wasm"
    );
    let by_number = Module::compile("own", &std::fs::read(by_number).unwrap()).unwrap();
    assert!(!by_number.keeps_state, "the example is quick");
    assert!(!module(MODULO).unwrap().keeps_state && !module(LENGTH).unwrap().keeps_state);
}

#[test]
fn answers_may_not_depend_on_earlier_calls() {
    let counting = r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "slot_integer") (param i64 i32) (result i32)
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (i32.rem_u (global.get $n) (local.get 1))))"#;
    assert!(module(counting).unwrap_err().contains("earlier calls"));
    let remembering = r#"(module (memory (export "memory") 1)
        (func (export "buffer") (result i32) (i32.const 16))
        (func (export "slot_text") (param i32 i32) (result i32)
          (i32.store8 (i32.const 8) (i32.or (i32.load8_u (i32.const 8)) (i32.eq (local.get 0) (i32.const 3))))
          (i32.load8_u (i32.const 8))))"#;
    assert!(module(remembering).unwrap_err().contains("earlier calls"));
}

#[test]
fn ranges_have_the_slots_of_their_ends() {
    let wat = MODULO.replace("(i64.const 127)", "(i64.const 1)");
    let why = module(&wat).unwrap_err();
    assert!(why.contains("out of `slots_between` from"), "{why}");
}

#[test]
fn the_trial_has_as_many_slots_as_there_are_targets() {
    let wat =
        r#"(module (func (export "slot_integer") (param i64 i32) (result i32) (i32.const 4)))"#;
    let module = Module::compile("own", &wat::parse_str(wat).unwrap()).unwrap();
    assert_eq!(module.try_out(5), Ok(()));
    assert!(module.try_out(4).unwrap_err().contains("slot 4 of 4"));
}

#[test]
fn many_threads_share_a_module() {
    let module = module(MODULO).unwrap();
    std::thread::scope(|scope| {
        for first in 0..8 {
            let module = &module;
            scope.spawn(move || {
                for key in first..first + 200 {
                    let slot = usize::try_from(key % 7).unwrap();
                    assert_eq!(module.slot_of_integer(key, 7), Ok(Some(slot)));
                }
            });
        }
    });
}

/// A module that calls itself without end, and one with much on its stack, meet a bound of the interpreter's own.
#[test]
fn recursion_ends_in_an_error() {
    let wat = r#"(module (func $f (export "slot_integer") (param i64 i32) (result i32)
        (if (result i32) (i64.eq (local.get 0) (i64.const 77))
          (then (i32.add (call $f (local.get 0) (local.get 1)) (i32.const 1))) (else (i32.const 0)))))"#;
    let module = module(wat).unwrap();
    assert!(matches!(
        module.slot_of_integer(77, 4),
        Err(Failed::Trap(_))
    ));
    assert_eq!(module.slot_of_integer(78, 4), Ok(Some(0)));
}

proptest! {
    #[test]
    fn whatever_a_module_is_the_process_goes_on(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        text in any::<bool>(),
        key in any::<i64>(),
    ) {
        let mut bytes = wat::parse_str(if text { LENGTH } else { MODULO }).unwrap();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(module) = Module::compile("own", &bytes) {
            let _ = module.try_out(5);
            let _ = module.slot_of_integer(i128::from(key), 5);
            let _ = module.slot_of_text(&key.to_le_bytes(), 5);
            let _ = module.slots_between(0, i128::from(key), 5);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_run_within_bounds(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
        if magic {
            bytes.splice(0..0, *b"\0asm\x01\0\0\0");
        }
        if let Ok(module) = Module::compile("own", &bytes) {
            let _ = module.try_out(5);
        }
    }
}
