(module (func (export "slot_integer") (param i64 i32) (result i32) (i32.const 4)))
