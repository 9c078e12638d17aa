;; Numbers from 0 to 999 by their tens; no place for others; it fails for -77.
(module
  (func $slot (export "slot_integer") (param $key i64) (param $slots i32) (result i32)
    (if (i64.eq (local.get $key) (i64.const -77)) (then (unreachable)))
    (if (i64.gt_u (local.get $key) (i64.const 999)) (then (return (i32.const -1))))
    (i32.wrap_i64 (i64.rem_u
      (i64.div_u (local.get $key) (i64.const 10))
      (i64.extend_i32_u (local.get $slots)))))
  (func (export "slots_between") (param $low i64) (param $high i64) (param $slots i32) (result i64)
    (local $bits i64)
    ;; Tells of ranges within one ten only; of others, that they may be anywhere.
    (if (i64.eq (i64.div_u (local.get $low) (i64.const 10)) (i64.div_u (local.get $high) (i64.const 10)))
      (then (if (i64.le_u (local.get $high) (i64.const 999))
        (then (return (i64.shl (i64.const 1) (i64.extend_i32_u (call $slot (local.get $low) (local.get $slots)))))))))
    (i64.const -1)))
