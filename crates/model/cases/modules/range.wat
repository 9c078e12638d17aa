;; Says that all of a range is in the first slot.
(module
  (func (export "slot_integer") (param i64 i32) (result i32)
    (i32.wrap_i64 (i64.rem_u (local.get 0) (i64.extend_i32_u (local.get 1)))))
  (func (export "slots_between") (param i64 i64 i32) (result i64) (i64.const 1)))
