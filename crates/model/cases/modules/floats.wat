(module
  (func (export "slot_integer") (param i64 i32) (result i32)
    (i32.rem_u (i32.trunc_f64_u (f64.const 7)) (local.get 1))))
