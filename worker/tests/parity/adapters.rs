//! Adapters beside the model: what PEFT and `transformers` compute with them, alone and in company.

use prelim_kernels::{Arithmetic, Cpu, Reference};
use prelim_worker::model::weights::Weights;
use prelim_worker::model::{Adapter, AdapterId, Model, ModelConfig, WeightType};

use crate::adapted::{NAMES, check_goldens, folder, load};
use crate::batching::{check_same_bits_in_company, gemma3_cases};
use crate::golden::fixture;

/// Issue promise: adapters in PEFT's format, chosen by sequence, compute what PEFT computes.
#[test]
fn adapters_give_the_logits_of_peft() {
    let model = load(Cpu::with_threads(2).expect("threads"), WeightType::F32, &NAMES);
    check_goldens(&model, 1e-4);
    let adapts_pictures = [0, 1].map(|adapter| model.adapts_pictures(AdapterId(adapter)));
    assert_eq!(adapts_pictures, [true, false], "the second changes the decoder alone");
    check_goldens(&load(Reference::default(), WeightType::F32, &NAMES), 1e-4);
}

/// Issue promise: nothing is loaded again, and nobody notices the others.
#[test]
fn sequences_of_several_adapters_and_of_none_have_the_same_bits_alone_and_in_company() {
    for arithmetic in [Arithmetic::Exact, Arithmetic::Bf16] {
        let cpu = |threads| Cpu::with_threads(threads).expect("threads").with_arithmetic(arithmetic);
        let both = load(cpu(2), WeightType::Bf16, &NAMES);
        let mixed = [Some(AdapterId(0)), None, Some(AdapterId(1)), Some(AdapterId(0))];
        check_same_bits_in_company(
            &load(cpu(1), WeightType::Bf16, &NAMES),
            &both,
            &gemma3_cases(mixed),
            &[1, 17, 1000],
        );
        // As if there were no adapters.
        check_same_bits_in_company(&load(cpu(1), WeightType::Bf16, &[]), &both, &gemma3_cases([None; 4]), &[64]);
        // As if there were only one.
        let alone = load(cpu(1), WeightType::Bf16, &NAMES[..1]);
        check_same_bits_in_company(&alone, &both, &gemma3_cases([Some(AdapterId(0)), None, None, None]), &[64]);
    }
}

/// A copy of an adapter with other settings.
fn copy_spoiled(name: &str, to: &std::path::Path, spoil: &dyn Fn(&mut serde_json::Value)) {
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(folder(name).join(file), to.join(file)).unwrap();
    }
    let path = to.join("adapter_config.json");
    let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    spoil(&mut config);
    std::fs::write(&path, config.to_string()).unwrap();
}

#[test]
fn what_adapters_may_not_be_is_said() {
    let scratch = tempfile::tempdir().unwrap();
    let spoiled = |spoil: &dyn Fn(&mut serde_json::Value)| {
        copy_spoiled("attention", scratch.path(), spoil);
        Adapter::open(scratch.path()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(spoiled(&|_| {}), "");
    for (key, value, wanted) in [
        ("peft_type", serde_json::json!("IA3"), "peft_type is IA3"),
        ("use_dora", true.into(), "use_dora is true"),
        ("bias", "all".into(), "bias is \"all\""),
        ("modules_to_save", serde_json::json!(["lm_head"]), "modules_to_save is [\"lm_head\"], which is not computed"),
        ("r", 0.into(), "r is 0"),
        // What these change of the base is not in the adapter.
        ("init_lora_weights", "pissa_niter_4".into(), "init_lora_weights is \"pissa_niter_4\", which is not computed"),
        ("init_lora_weights", "olora".into(), "init_lora_weights is \"olora\""),
        ("loftq_config", serde_json::json!({"loftq_bits": 4}), "loftq_config is {\"loftq_bits\":4}"),
        ("use_bdlora", true.into(), "use_bdlora is true"),
        ("of_next_year", 3.into(), "of_next_year is 3, which is not computed"),
        ("rank_pattern", serde_json::json!({"q_proj$": 2}), "rank_pattern has \"q_proj$\""),
        ("alpha_pattern", serde_json::json!({"q_proj|v_proj": 2}), "is no name of a module"),
        ("lora_alpha", serde_json::Value::Null, "invalid type: null"),
    ] {
        let found = spoiled(&|config| config[key] = value.clone());
        assert!(found.contains(wanted), "{key}: {found}");
    }
    assert_eq!(spoiled(&|_| {}), "");
    std::fs::remove_file(scratch.path().join("adapter_model.safetensors")).unwrap();
    let missing = Adapter::open(scratch.path()).err().expect("nothing to open").to_string();
    assert!(
        missing.contains("there is no adapter_model.safetensors, which PEFT's save_pretrained writes"),
        "{missing}"
    );
}

/// The rank that the settings say is that of the matrices: they scale by it.
#[test]
fn a_rank_that_the_matrices_do_not_have_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    copy_spoiled("all-linear", scratch.path(), &|config| config["r"] = 16.into());
    let base = fixture("tiny-gemma3");
    let (config, stored) = (ModelConfig::read(&base).unwrap(), Weights::open(&base).unwrap());
    let adapter = Adapter::open(scratch.path()).unwrap();
    let cpu = Cpu::with_threads(1).unwrap();
    let refused = Model::from_weights(config, &stored, cpu, WeightType::AsStored, &[adapter]).err();
    let said = refused.expect("it says 16 and has 4").to_string();
    assert!(said.contains("has rank 4 in adapter_model.safetensors, and adapter_config.json says 16"), "{said}");
}

/// One that was made for another model is refused by the name of what does not fit.
#[test]
fn an_adapter_of_another_model_is_refused() {
    let demonstration = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/checkpoint");
    let (config, stored) = (ModelConfig::read(&demonstration).unwrap(), Weights::open(&demonstration).unwrap());
    let adapter = Adapter::open(&folder("all-linear")).unwrap();
    let cpu = Cpu::with_threads(1).unwrap();
    let refused = Model::from_weights(config, &stored, cpu, WeightType::AsStored, &[adapter]).err();
    let said = refused.expect("its layers are of other sizes").to_string();
    assert!(said.contains("lora_A.weight is [4, ") && said.contains("this model's layer of "), "{said}");
    assert!(said.contains("trained on") && !said.contains("config.json implies"), "{said}");
}
