;; The number modulo the slots, and which slots a range of numbers has.
(module
  (func $slot (export "slot_integer") (param $key i64) (param $slots i32) (result i32)
    (i32.wrap_i64 (i64.rem_u (local.get $key) (i64.extend_i32_u (local.get $slots)))))
  (func (export "slots_between") (param i64 i64 i32) (result i64) (i64.const -1)))
