//! The coded concepts that findings are made of.
//!
//! Codes are SNOMED CT's (scheme designator SCT, as PS3.16 section 8 has it), checked against the concepts that
//! DICOM's context groups use where one exists.

use serde::{Deserialize, Serialize};

/// A coded concept (PS3.3 section 8.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Concept {
    /// Code Value (0008,0100).
    pub value: &'static str,
    /// Coding Scheme Designator (0008,0102).
    pub scheme: &'static str,
    /// Code Meaning (0008,0104).
    pub meaning: &'static str,
}

macro_rules! findings {
    ($($(#[doc = $doc:literal])* $variant:ident = $key:literal, $name:literal, $value:literal, $meaning:literal;)*) => {
        /// What a finding is. The word for programs, models and JSON is [`FindingCode::key`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum FindingCode {
            $($(#[doc = $doc])* #[serde(rename = $key)] $variant,)*
        }

        impl FindingCode {
            /// Every code, in the order in which reports list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for programs: lower case, underscores.
            pub fn key(self) -> &'static str {
                match self { $(Self::$variant => $key,)* }
            }

            /// The word for people, lower case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The coded concept.
            pub fn concept(self) -> Concept {
                match self { $(Self::$variant => Concept { value: $value, scheme: "SCT", meaning: $meaning },)* }
            }
        }
    };
}

findings! {
    /// Fluid in the pleural space.
    PleuralEffusion = "pleural_effusion", "pleural effusion", "60046008", "Pleural effusion";
    /// Air in the pleural space.
    Pneumothorax = "pneumothorax", "pneumothorax", "36118008", "Pneumothorax";
    /// Air spaces filled.
    Consolidation = "consolidation", "consolidation", "95436008", "Lung consolidation";
    /// A rounded opacity of at most 30 mm.
    Nodule = "nodule", "lung nodule", "427359005", "Solitary nodule of lung";
    /// A rounded opacity of more than 30 mm.
    Mass = "mass", "lung mass", "309529002", "Lung mass";
    /// A heart wider than half the chest.
    Cardiomegaly = "cardiomegaly", "cardiomegaly", "8186001", "Cardiomegaly";
    /// Fluid in the interstitium of the lungs.
    InterstitialEdema = "interstitial_edema", "interstitial edema", "19242006", "Pulmonary edema";
    /// A cardiac pacemaker or its like.
    Pacemaker = "pacemaker", "cardiac pacemaker", "14106009", "Cardiac pacemaker";
    /// An endotracheal tube.
    EndotrachealTube = "endotracheal_tube", "endotracheal tube", "26412008", "Endotracheal tube";
    /// Collapse of lung.
    Atelectasis = "atelectasis", "atelectasis", "46621007", "Atelectasis";
    /// A broken bone.
    Fracture = "fracture", "fracture", "125605004", "Fracture of bone";
}

impl FindingCode {
    /// The code with the given word.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.key() == key)
    }
}
