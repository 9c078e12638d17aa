(module
  (func (export "slot_integer") (param i64 i32) (result i32)
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then (unreachable)))
    (i32.const 0)))
