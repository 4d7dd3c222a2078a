//! Results of searches: what the record knows of a study, a series and an instance, as DICOM attributes (PS3.18 tables
//! 10.6.3-3 to 10.6.3-5; pure).

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use prelim_proto::ids::Uid;
use prelim_proto::study::RequestIds;
use serde_json::{Map, Value, json};

use super::draft;
use super::json::{hex, name};
use super::query::{Query, SEARCHED_REQUESTS};
use super::route::Level;
use crate::report::sop_class_and_modality;
use crate::store::record::{InstanceRecord, StudyRecord};

/// An attribute of a result.
#[derive(Debug, Clone, PartialEq)]
struct Attribute {
    tag: Tag,
    vr: VR,
    values: Vec<String>,
    /// Of a sequence.
    items: Vec<Value>,
    level: Level,
    /// It is in every result, also where nobody asks for it.
    is_usual: bool,
}

/// A result.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row(Vec<Attribute>);

impl Row {
    /// A study, as its record has it.
    pub(super) fn study(record: &StudyRecord, base: &str) -> Self {
        let known = &record.attributes;
        let mut modalities = record.modalities.clone();
        let drafts = draft::shown(record);
        for (_, modality) in drafts.iter().filter_map(|format| sop_class_and_modality(*format)) {
            if !modalities.iter().any(|known| known == modality) {
                modalities.push(modality.to_owned());
            }
        }
        let instances = record.instances + drafts.len() as u32;
        let mut row = Self::default();
        let mut add = |tag, vr, text: &str| row.add(Level::Study, tag, vr, text);
        add(tags::STUDY_DATE, VR::DA, &known.study_date);
        add(tags::STUDY_TIME, VR::TM, &known.study_time);
        add(tags::ACCESSION_NUMBER, VR::SH, &known.accession_number);
        add(tags::INSTANCE_AVAILABILITY, VR::CS, "ONLINE");
        add(tags::REFERRING_PHYSICIAN_NAME, VR::PN, &known.referring_physician);
        add(tags::RETRIEVE_URL, VR::UR, &format!("{base}/studies/{}", record.uid));
        add(tags::PATIENT_NAME, VR::PN, &known.patient_name);
        add(tags::PATIENT_ID, VR::LO, &known.patient_id);
        add(tags::PATIENT_BIRTH_DATE, VR::DA, &known.patient_birth_date);
        add(tags::PATIENT_SEX, VR::CS, &known.patient_sex);
        add(tags::STUDY_INSTANCE_UID, VR::UI, record.uid.as_str());
        add(tags::STUDY_ID, VR::SH, &known.study_id);
        add(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, &instances.to_string());
        add(tags::STUDY_DESCRIPTION, VR::LO, &known.description);
        add(tags::INSTITUTION_NAME, VR::LO, &known.institution);
        let (level, is_usual) = (Level::Study, true);
        let (tag, vr, items) = (tags::MODALITIES_IN_STUDY, VR::CS, Vec::new());
        row.0.push(Attribute { tag, vr, values: modalities, items, level, is_usual });
        for attribute in &mut row.0 {
            attribute.is_usual = attribute.tag != tags::INSTITUTION_NAME;
        }
        row
    }

    /// Adds how many series the study has.
    pub(super) fn with_series_count(mut self, series: usize) -> Self {
        self.add(Level::Study, tags::NUMBER_OF_STUDY_RELATED_SERIES, VR::IS, &series.to_string());
        self
    }

    /// A series of this study, with its instances in order of UID. What it says of itself is from the first.
    pub(super) fn series(&self, study: &Uid, instances: &[&InstanceRecord], base: &str) -> Self {
        let mut row = self.clone();
        // What holds for the study is told anew for the series.
        row.0.retain(|attribute| ![tags::RETRIEVE_URL, tags::INSTANCE_AVAILABILITY].contains(&attribute.tag));
        let Some(first) = instances.first() else { return row };
        let mut add = |tag, vr, text: &str| row.add(Level::Series, tag, vr, text);
        add(tags::MODALITY, VR::CS, &first.modality);
        add(tags::SERIES_DESCRIPTION, VR::LO, &first.description);
        add(tags::RETRIEVE_URL, VR::UR, &format!("{base}/studies/{study}/series/{}", first.series));
        add(tags::INSTANCE_AVAILABILITY, VR::CS, "ONLINE");
        add(tags::SERIES_INSTANCE_UID, VR::UI, first.series.as_str());
        add(tags::SERIES_NUMBER, VR::IS, &first.number.map(|number| number.to_string()).unwrap_or_default());
        add(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS, &instances.len().to_string());
        row.add_requests(&first.requests);
        row
    }

    /// An instance of this series.
    pub(super) fn instance(&self, study: &Uid, record: &InstanceRecord, base: &str) -> Self {
        let mut row = self.clone();
        row.0.retain(|attribute| ![tags::RETRIEVE_URL, tags::INSTANCE_AVAILABILITY].contains(&attribute.tag));
        let instance = &record.instance;
        let mut add = |tag, vr, text: &str| row.add(Level::Instance, tag, vr, text);
        let address = format!("{base}/studies/{study}/series/{}/instances/{}", record.series, instance.uid);
        add(tags::SOP_CLASS_UID, VR::UI, instance.sop_class.as_str());
        add(tags::SOP_INSTANCE_UID, VR::UI, instance.uid.as_str());
        add(tags::INSTANCE_AVAILABILITY, VR::CS, "ONLINE");
        add(tags::RETRIEVE_URL, VR::UR, &address);
        add(tags::INSTANCE_NUMBER, VR::IS, &instance.number.map(|number| number.to_string()).unwrap_or_default());
        add(tags::AVAILABLE_TRANSFER_SYNTAX_UID, VR::UI, instance.transfer_syntax.as_str());
        if let Some(image) = &instance.image {
            add(tags::ROWS, VR::US, &image.rows.to_string());
            add(tags::COLUMNS, VR::US, &image.columns.to_string());
            if let Some(bits) = image.bits_allocated {
                add(tags::BITS_ALLOCATED, VR::US, &bits.to_string());
            }
            if image.frames > 1 {
                add(tags::NUMBER_OF_FRAMES, VR::IS, &image.frames.to_string());
            }
        }
        row
    }

    /// Adds the requests that a series was made for, where it says so: as a sequence, and its values to be searched for.
    fn add_requests(&mut self, requests: &[RequestIds]) {
        if requests.is_empty() {
            return;
        }
        let item = |request: &RequestIds| {
            let mut item = Map::new();
            for (tag, value) in
                SEARCHED_REQUESTS.into_iter().zip([&request.scheduled_step, &request.requested_procedure])
            {
                item.insert(hex(tag), json!({"vr": "SH", "Value": [value]}));
            }
            item.into()
        };
        let items = requests.iter().map(item).collect();
        let (tag, level) = (tags::REQUEST_ATTRIBUTES_SEQUENCE, Level::Series);
        self.0.push(Attribute { tag, vr: VR::SQ, values: Vec::new(), items, level, is_usual: true });
        let steps = requests.iter().map(|request| request.scheduled_step.clone()).collect();
        let procedures = requests.iter().map(|request| request.requested_procedure.clone()).collect();
        for (tag, values) in SEARCHED_REQUESTS.into_iter().zip([steps, procedures]) {
            self.0.push(Attribute { tag, vr: VR::SH, values, items: Vec::new(), level, is_usual: false });
        }
    }

    fn add(&mut self, level: Level, tag: Tag, vr: VR, text: &str) {
        let values = if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        self.0.push(Attribute { tag, vr, values, items: Vec::new(), level, is_usual: true });
    }

    /// Whether it fits what is asked of this level.
    pub(super) fn fits(&self, query: &Query, level: Level) -> bool {
        let keys = query.keys.iter().filter(|(_, of, _)| *of == level);
        keys.into_iter().all(|(tag, _, key)| {
            let found = self.0.iter().find(|attribute| attribute.tag == *tag);
            found.is_some_and(|attribute| key.fits(&attribute.values))
        })
    }

    /// As JSON: what is usual from level `from` on, and what the search asks for beside it.
    pub(super) fn json(&self, query: &Query, from: Level) -> String {
        let is_shown = |attribute: &&Attribute| {
            let is_wanted = query.all_fields || query.fields.contains(&attribute.tag);
            // What is within a sequence is shown there.
            let is_alone = !SEARCHED_REQUESTS.contains(&attribute.tag);
            is_alone && (attribute.is_usual && attribute.level >= from || is_wanted)
        };
        let mut shown: Vec<&Attribute> = self.0.iter().filter(is_shown).collect();
        shown.sort_by_key(|attribute| attribute.tag);
        let object: Map<String, Value> =
            shown.into_iter().map(|attribute| (hex(attribute.tag), attribute.json())).collect();
        Value::from(object).to_string()
    }
}

impl Attribute {
    fn json(&self) -> Value {
        let vr = self.vr.to_string();
        if self.vr == VR::SQ {
            return json!({"vr": vr, "Value": self.items});
        }
        let value = |text: &String| match self.vr {
            VR::PN => name(text),
            VR::IS | VR::US => text.parse::<i64>().map_or_else(|_| text.as_str().into(), Value::from),
            _ => text.as_str().into(),
        };
        let values: Vec<Value> = self.values.iter().map(value).collect();
        if values.is_empty() { json!({"vr": vr}) } else { json!({"vr": vr, "Value": values}) }
    }
}
