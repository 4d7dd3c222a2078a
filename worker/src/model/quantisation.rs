//! `quantization_config`: which quantised weights are read, and which are refused by name.

use serde_json::Value;

/// The one method that is read.
const METHOD: &str = "compressed-tensors";
/// Its one format: whole numbers in words of 32 bits, with scales.
const FORMAT: &str = "pack-quantized";

/// Checks what says how weights were quantised. The error says what is not read, in a phrase; tensors are checked when they
/// are read.
pub(super) fn check(config: &Value) -> Result<(), String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("unnamed").to_owned();
    let refuse = |what: String| Err(format!("the weights are quantized ({what}), and prelim reads {METHOD}, {FORMAT}"));
    let method = text(config, "quant_method");
    if method != METHOD {
        return refuse(method);
    }
    if !config.get("kv_cache_scheme").is_none_or(Value::is_null) {
        return refuse(format!("{METHOD} with a kv_cache_scheme"));
    }
    let Some(groups) = config.get("config_groups").and_then(Value::as_object).filter(|groups| !groups.is_empty())
    else {
        return refuse(format!("{METHOD} without config_groups"));
    };
    for (name, group) in groups {
        // A group may have a format of its own.
        let format = group.get("format").filter(|format| !format.is_null()).map(|_| text(group, "format"));
        let format = format.unwrap_or_else(|| text(config, "format"));
        if format != FORMAT {
            return refuse(format!("{METHOD}, {format}"));
        }
        for activations in ["input_activations", "output_activations"] {
            if !group.get(activations).is_none_or(Value::is_null) {
                return refuse(format!("{name} with {activations}"));
            }
        }
        let weights = group.get("weights").unwrap_or(&Value::Null);
        let found = |key: &str| format!("{name} with {key} {}", weights.get(key).unwrap_or(&Value::Null));
        let is = |key: &str, wanted: &[Value]| weights.get(key).is_none_or(|value| wanted.contains(value));
        let read = [
            ("num_bits", vec![8.into(), 4.into()]),
            ("type", vec!["int".into()]),
            ("symmetric", vec![true.into()]),
            ("strategy", vec!["group".into(), "channel".into()]),
            // Weights that were calibrated in another order, and lie in their own.
            ("actorder", vec![Value::Null, false.into(), "weight".into(), "static".into()]),
        ];
        if let Some((key, _)) = read.iter().find(|(key, wanted)| !is(key, wanted)) {
            return refuse(found(key));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Value {
        json!({
            "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
            "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": null, "weights":
                {"num_bits": 4, "type": "int", "symmetric": true, "strategy": "group", "group_size": 128}}}
        })
    }

    #[test]
    fn whole_numbers_with_scales_are_read_and_all_else_is_refused_by_name() {
        assert_eq!(check(&config()), Ok(()));
        type Change = fn(&mut Value);
        let table: [(Change, &str); 9] = [
            (|c| c["quant_method"] = json!("awq"), "(awq)"),
            (|c| c["format"] = json!("float-quantized"), "(compressed-tensors, float-quantized)"),
            (|c| c["config_groups"] = json!({}), "without config_groups"),
            (|c| c["config_groups"]["group_0"]["format"] = json!("nvfp4"), "(compressed-tensors, nvfp4)"),
            (|c| c["config_groups"]["group_0"]["weights"]["num_bits"] = json!(3), "group_0 with num_bits 3"),
            (|c| c["config_groups"]["group_0"]["weights"]["symmetric"] = json!(false), "symmetric false"),
            (|c| c["config_groups"]["group_0"]["weights"]["actorder"] = json!("group"), "actorder \"group\""),
            (|c| c["config_groups"]["group_0"]["input_activations"] = json!({"num_bits": 8}), "input_activations"),
            (|c| c["kv_cache_scheme"] = json!({"num_bits": 8}), "kv_cache_scheme"),
        ];
        for (change, wanted) in table {
            let mut changed = config();
            change(&mut changed);
            let found = check(&changed).unwrap_err();
            assert!(found.starts_with("the weights are quantized (") && found.contains(wanted), "{found}");
        }
    }
}
