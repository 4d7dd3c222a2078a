"""Questions about phantoms and their answers, made from the truth: what a radiologist would type, and what is so.

Answers are short and in the words of the drafts. A question names one finding, two, a side, or none; what no phantom shows is
asked for as well, and so are things that no image tells, so that the model learns to say that it cannot tell.
"""
import re

NAMES = {
    "pleural_effusion": "pleural effusion", "pneumothorax": "pneumothorax", "consolidation": "consolidation",
    "nodule": "nodule", "mass": "mass", "cardiomegaly": "cardiomegaly", "interstitial_edema": "interstitial edema",
    "pacemaker": "pacemaker", "endotracheal_tube": "endotracheal tube"}
# What a slice can show of them.
ON_CT = ["pleural_effusion", "pneumothorax", "consolidation", "nodule", "mass"]
SIDED = ON_CT + ["pacemaker"]
ZONED, DEVICES = ["consolidation", "nodule", "mass"], ["pacemaker", "endotracheal_tube"]
IN_LUNGS = ON_CT + ["interstitial_edema"]
WITH_DEGREE = ["pleural_effusion", "pneumothorax", "cardiomegaly", "interstitial_edema"]
CANNOT = "I cannot tell from this image."

# What people call them, with how often; an article goes before, where there is one.
CALLED = {
    "pleural_effusion": ["a pleural effusion"] * 6 + ["an effusion"] * 3 + ["pleural effusion"] * 2 + [
        "pleural fluid", "fluid in the pleural space", "any pleural fluid", "a hydrothorax", "fluid around the lung"],
    "pneumothorax": ["a pneumothorax"] * 8 + ["pneumothorax"] * 2 + [
        "a PTX", "a collapsed lung", "air in the pleural space", "pleural air"],
    "consolidation": ["a consolidation"] * 4 + ["consolidation"] * 4 + [
        "an infiltrate", "pneumonia", "airspace disease", "an airspace opacity", "a pneumonic infiltrate"],
    "nodule": ["a nodule"] * 6 + ["a lung nodule"] * 2 + ["a pulmonary nodule"] * 2 + ["a small nodule", "a coin lesion", "nodules"],
    "mass": ["a mass"] * 6 + ["a lung mass"] * 2 + ["a pulmonary mass"] * 2 + ["a tumor", "a tumour", "a large mass"],
    "cardiomegaly": ["cardiomegaly"] * 6 + ["an enlarged heart"] * 3 + ["a large heart", "enlargement of the heart",
                                                                       "an enlarged cardiac silhouette"],
    "interstitial_edema": ["interstitial edema"] * 4 + ["edema"] * 2 + ["pulmonary edema"] * 2 + ["lung edema",
        "interstitial oedema", "pulmonary oedema", "pulmonary congestion", "congestion"],
    "pacemaker": ["a pacemaker"] * 8 + ["a cardiac pacemaker", "a pacer", "pacemaker leads", "an implanted pacemaker"],
    "endotracheal_tube": ["an endotracheal tube"] * 6 + ["a tracheal tube", "an ET tube", "an ETT", "a breathing tube",
                                                         "an endotracheal intubation tube"]}

PRESENT = ["Is there {a}?"] * 8 + [
    "Is there {a} here?", "Is there {a} in this image?", "Is there any {n}?", "Any {n}?", "Any {n}?", "Do you see {a}?",
    "Do you see {a}?", "Do you see any {n}?", "Can you see {a}?", "Can you see any {n}?", "Does this image show {a}?",
    "Does it show {a}?", "Is {a} present?", "Is {a} visible?", "Are there signs of {n}?", "Any sign of {n}?",
    "Any evidence of {n}?", "Is there evidence of {n}?", "{N}?", "{N}?", "{N} yes or no?", "Does the patient have {a}?",
    "Does this patient have {a}?", "Has the patient {a}?", "Could this be {n}?", "Is that {a}?", "I suspect {a}. Do you see it?",
    "Is there {a} or not?", "Is {n} seen?", "Do you think there is {a}?"]
# Answered without a yes: "yes" to "rule it out" could mean either.
TOLD = ["Check for {n}.", "Look for {n}.", "Rule out {n}.", "Question of {n}.", "What about {n}?", "And {n}?", "Tell me if there is {a}.",
        "Please check whether there is {a}.", "Describe the {n}.", "Tell me about the {n}.", "What about the {n}?"]
# Never learnt from: the model is scored on these words.
PRESENT_HELD = ["Is there any evidence for {a}?", "Can {n} be seen?", "Is {a} seen in this picture?", "Would you say there is {a}?"]
HEART = ["Is the heart enlarged?"] * 6 + [
    "Is the heart large?", "Is the heart too large?", "Is the heart big?", "Is the cardiac silhouette enlarged?",
    "Heart enlarged?", "Is the cardiac size increased?", "Is heart size increased?", "Is the heart shadow enlarged?"]
HEART_TOLD = ["How is the heart?", "Heart size?", "What is the heart size?", "How large is the heart?", "Describe the heart.", "Heart?"]
HEART_NORMAL = ["Is the heart size normal?", "Is the heart of normal size?", "Is the heart normal?", "Heart size normal?"]
INTUBATED = ["Is the patient intubated?", "Is this patient intubated?", "Intubated?", "Is there a tube in the trachea?"]
PACED = ["Does the patient have a pacemaker?", "Is a pacemaker in place?", "Is the patient paced?"]
ON_SIDE = ["Is there {a} on the {s}?"] * 5 + [
    "Is there {a} on the {s} side?", "Any {n} on the {s}?", "Any {n} on the {s} side?", "Do you see {a} on the {s}?",
    "Is there {a} in the {s} lung?", "Any {n} in the {s} lung?", "Is there a {s} {n}?", "Is there a {s} {n}?", "Is there any {s} {n}?",
    "{S} {n}?", "{N} on the {s}?", "Can you see {a} on the {s}?", "Does the {s} lung show {a}?", "Is {a} seen on the {s}?",
    "Is the {n} on the {s}?", "{S}-sided {n}?", "Is there a {s}-sided {n}?"]
ON_SIDE_HELD = ["Can you see a {s} {n}?", "Is there any {n} on the {s} side?"]
WHERE = ["Where is the {n}?"] * 6 + [
    "Where is {a}?", "Where do you see the {n}?", "Which side is the {n} on?", "On which side is the {n}?", "Where exactly is the {n}?",
    "What side is the {n}?", "Which side is the {n}?", "In which zone is the {n}?", "Which zone is the {n} in?",
    "Locate the {n}.", "Show me where the {n} is.", "Position of the {n}?", "Where is the {n} located?", "Side of the {n}?"]
WHERE_HELD = ["Tell me where the {n} is.", "Where can the {n} be seen?"]
HOW_LARGE = ["How large is the {n}?", "How big is the {n}?", "How severe is the {n}?", "What size is the {n}?", "Size of the {n}?",
             "How much {n} is there?", "Severity of the {n}?", "Is the {n} large or small?", "How bad is the {n}?"]
TWO = ["Is there {a} or {b}?"] * 3 + ["Any {n} or {m}?", "{N} or {m}?", "Do you see {a} or {b}?", "Are there {n} or {m}?",
                                      "Is there any {n} or {m}?"]
ALL = ["What do you see?"] * 6 + [
    "What does this image show?", "What is there to see?", "What are the findings?", "What are the findings?", "Findings?",
    "Any findings?", "List the findings.", "List all findings.", "What is abnormal?", "Is anything abnormal?", "What is wrong here?",
    "Any abnormality?", "Any abnormalities?", "Is there any abnormality?", "Is there anything abnormal?", "Summarize the image.",
    "Describe the findings.", "Describe what you see.", "What can you see?", "What is this?", "Read this image.", "Impression?",
    "What is your impression?", "What is the diagnosis?", "Report this image.", "What does it show?", "Tell me what you see.",
    "What is in the image?", "Describe the image.", "Describe this image.",
    "Anything else?", "Do you see anything?", "Is there anything to see?", "What abnormalities are there?", "What do you find?"]
ALL_HELD = ["Which findings do you see?", "What abnormalities can you see?", "Tell me the findings."]
NORMAL = ["Is this normal?"] * 4 + [
    "Is this image normal?", "Is it normal?", "Normal?", "Is this a normal study?", "Is this a normal image?", "Does this look normal?",
    "Is everything normal?", "Is everything all right?", "Is this study normal?", "Is the chest normal?", "Would you call this normal?"]
LUNGS_NORMAL = ["Are the lungs clear?", "Are the lungs normal?", "Lungs clear?", "Are both lungs clear?"]
LUNGS = ["Describe the lungs.", "How are the lungs?", "What is in the lungs?", "Lungs?", "What do the lungs show?"]
AT_SIDE = ["What is on the {s}?", "What do you see on the {s}?", "Anything on the {s}?", "Is there anything on the {s}?",
           "Any findings on the {s}?", "Anything abnormal on the {s}?", "What about the {s} side?", "Findings on the {s} side?"]
AT_LUNG = ["What is in the {s} lung?", "How is the {s} lung?", "What do you see in the {s} lung?", "Anything in the {s} lung?"]
TUBES = ["Are there any devices?", "Any devices?", "Any tubes or lines?", "Are there any tubes?", "Is there a device?",
         "Do you see a device?", "What devices are there?", "Any hardware?", "Any implants?", "Are there tubes or lines?",
         "Is there any medical device?", "List the devices.", "What tubes do you see?"]
KIND = ["What kind of image is this?", "Is this a CT or an X-ray?", "Which modality is this?", "What modality is this?",
        "Is this a CT?", "Is this an X-ray?", "Is this a radiograph?", "What am I looking at?", "What type of study is this?"]
# What people ask for that no phantom has.
STRANGE = """a fracture;a rib fracture;a clavicle fracture;a hiatal hernia;a hernia;scoliosis;free air;free air under the diaphragm;
pneumoperitoneum;a pericardial effusion;an aortic aneurysm;an aortic dissection;a pulmonary embolism;atelectasis;emphysema;fibrosis;
pulmonary fibrosis;tuberculosis;a cavity;a cavitation;bronchiectasis;lymphadenopathy;an enlarged lymph node;lymph nodes;metastases;
cancer;a chest tube;a central line;a central venous catheter;a nasogastric tube;an NG tube;a Swan-Ganz catheter;a port;sternal wires;
a stent;a prosthetic valve;calcification;a calcified granuloma;a cyst;asbestosis;sarcoidosis;COPD;COVID;a foreign body;osteoporosis;
an abscess;a hematoma;mediastinal widening;a widened mediastinum;a pneumomediastinum;pleural thickening;pleural plaques;
a raised diaphragm;subcutaneous emphysema;a vertebral fracture;a liver lesion;ascites;gallstones;a kidney stone;appendicitis;
a brain tumor;a stroke;a bleed;a bone lesion;degenerative change;arthritis;a goiter;a thymoma;heart failure;myocarditis;endocarditis;
a valve defect;coronary calcification;an infarct;bronchitis;asthma;a scar;an azygos lobe;dextrocardia;a skin fold;an artifact;
hyperinflation;air trapping;ground glass opacity;honeycombing;a tree in bud pattern;miliary disease;a pleural tumor;mesothelioma"""
STRANGE = [" ".join(thing.split()) for thing in STRANGE.split(";")]
STRANGE_HELD = ["a shoulder dislocation", "silicosis", "a tracheal stenosis", "a diaphragmatic rupture", "pulmonary hypertension",
                "a stomach tube", "a rib lesion", "varices"]
# What no image tells, or this model does not look at.
BEYOND = """How old is the patient?;What is the patient's name?;Who is this?;Is the patient male or female?;Is this a man or a woman?;
What is the patient's age?;Has it changed?;Is it better than before?;Is it worse than last time?;Compare with the prior.;
What changed since the last study?;Is it new?;Since when?;Was this there before?;What should I do?;What treatment do you recommend?;
Should the patient be admitted?;Does the patient need surgery?;Should I order a CT?;What follow-up is needed?;What is the prognosis?;
Is it malignant?;Is it benign?;Is the nodule malignant?;Is the mass cancer?;What caused it?;Why?;Why is that?;How sure are you?;
Are you sure?;Are you certain?;Hello;Hi there;Good morning;Thank you.;Who are you?;What can you do?;Help;What time is it?;
What day is it?;What is two plus two?;Write a poem.;Tell me a joke.;What is in the box?;What is in this box?;What is in the marked area?;
What is this here?;What is here?;What is at the arrow?;Is this area normal?;What is in this region?;Is there something in the box?;
What is the opacity in the box?;Describe the box.;How many mm is it?;How many millimetres is the nodule?;
Measure the nodule.;What is the diameter of the mass?;What is the cardiothoracic ratio?;How many ribs are there?;Count the ribs.;
Is the image quality good?;Is it rotated?;Is it a PA or AP view?;Was it taken supine?;Is the inspiration good?;Who took this image?;
When was this taken?;Which hospital is this?;What is the blood pressure?;Does the patient smoke?;Does the patient have pain?;
Does the patient have a fever?;What is the history?;Are the bones normal?;How are the bones?;Are the bones intact?;How is the spine?;
How is the mediastinum?;How is the aorta?;Is the aorta normal?;How is the diaphragm?;Is the trachea midline?;How is the liver?;
What about the bones?;Any bone lesion?;Are the hila normal?;How are the hila?;Is the mediastinum widened?;Is the tube in a good position?;
Is the tip of the tube above the carina?;Where is the tip of the tube?;Is the pacemaker working?;asdf;test;blah blah;???"""
BEYOND = [" ".join(text.split()) for text in BEYOND.split(";")]
BEYOND_HELD = ["Is the patient ill?", "How tall is the patient?", "Which drug should I give?", "Is it bigger than last year?",
               "What does the arrow show?", "How are the ribs?"]
SYLLABLES = "ba co di fen gor hem ili jo kar lum mes nor oph pla qui ros spi tra ul vex wor xan yl zo thy phr sten myx ost derm".split()
ENDINGS = "itis oma osis ia ectasis emia pathy plasia cele lith us gram ism ure ion al".split()


def short(finding):
    """As a draft says it: "small left pleural effusion"."""
    words = [finding.get("severity"), finding.get("side"), NAMES[finding["finding"]]]
    return " ".join(word for word in words if word)


def detailed(finding):
    """The same with its zone."""
    zone = finding.get("zone")
    tail = f", {zone}" if zone in ("anterior", "posterior") else f", {zone} zone" if zone else ""
    return short(finding) + tail


def place(finding):
    """"on the left, upper zone"."""
    side = finding.get("side")
    where = "on both sides" if side == "bilateral" else f"on the {side}" if side else ""
    return where + detailed(finding)[len(short(finding)):]


def sentence(text):
    return text[0].upper() + text[1:] + "."


class Asker:
    """Makes questions about one picture at a time."""

    def __init__(self, rng, held=False):
        self.rng, self.held = rng, held

    def pick(self, items):
        return items[int(self.rng.integers(len(items)))]

    def words(self, learnt, held):
        return self.pick(held if self.held else learnt)

    def called(self, code):
        """What people call a finding, with an article where there is one and without."""
        name = self.pick(CALLED[code])
        return name, re.sub("^(an?|any) ", "", name)

    def fill(self, template, code, **more):
        with_article, bare = self.called(code)
        return template.format(a=with_article, n=bare, N=sentence(bare)[:-1], **more)

    def about(self, row):
        """A finding to ask for: there in half of the cases."""
        there = {finding["finding"]: finding for finding in row["findings"]}
        known = ON_CT if row["kind"] == "ct" else list(NAMES)
        absent = [code for code in known if code not in there]
        if there and self.rng.random() < 0.5:
            code = self.pick(sorted(there))
            return code, there[code]
        return self.pick(absent), None

    def none(self, row, *codes):
        names = " and ".join(f"no {NAMES[code]}" for code in codes)
        return sentence(names + self.here(row))

    def here(self, row):
        return " in this slice" if row["kind"] == "ct" else ""

    def present(self, row):
        code, finding = self.about(row)
        about = ("present", code, finding is not None)
        answer = self.yes(finding) if finding else self.none(row, code)
        lot = 1.0 if self.held else self.rng.random()
        if code == "cardiomegaly" and lot < 0.5:
            return self.heart(finding)
        if code in ("endotracheal_tube", "pacemaker") and lot < 0.15:
            return self.pick(INTUBATED if code == "endotracheal_tube" else PACED), answer, about
        if lot > 0.85 and not self.held:
            return self.fill(self.pick(TOLD), code), sentence(detailed(finding)) if finding else answer, about
        return self.fill(self.words(PRESENT, PRESENT_HELD), code), answer, about

    def heart(self, finding):
        about, said, lot = ("heart", "cardiomegaly", finding is not None), detailed(finding) if finding else "no cardiomegaly", self.rng.random()
        if lot < 0.6:
            return self.pick(HEART), self.yes(finding) if finding else sentence(said), about
        if lot < 0.8:
            return self.pick(HEART_TOLD), sentence(said), about
        return self.pick(HEART_NORMAL), sentence(f"{'no' if finding else 'yes'}: {said}"), about

    def yes(self, *findings):
        return "Yes: " + ". ".join(sentence(detailed(each))[:-1] if at else detailed(each) for at, each in enumerate(findings)) + "."

    def on_side(self, row):
        code, finding = self.about(row)
        if code not in SIDED:
            return self.present(row)
        side = self.pick(["left", "right"])
        question = self.fill(self.words(ON_SIDE, ON_SIDE_HELD), code, s=side, S=side.capitalize())
        if finding is None:
            return question, self.none(row, code), ("side", code, "none")
        # What is there, with its side, and no yes or no beside it: so small a model contradicts itself.
        return question, sentence(detailed(finding)), ("side", code, "same" if finding["side"] in (side, "bilateral") else "other")

    def where(self, row):
        code, finding = self.about(row)
        if code not in SIDED:
            return self.present(row)
        question = self.fill(self.words(WHERE, WHERE_HELD), code)
        answer = sentence(f"the {NAMES[code]} is {place(finding)}") if finding else self.none(row, code)
        return question, answer, ("where", code, finding is not None)

    def how_large(self, row):
        code, finding = self.about(row)
        question = self.fill(self.pick(HOW_LARGE), code)
        # Of the others it was taught no size.
        answer = self.none(row, code) if finding is None else sentence(detailed(finding)) if code in WITH_DEGREE else CANNOT
        return question, answer, ("size", code, finding is not None)

    def two(self, row):
        one, first = self.about(row)
        other, second = self.about(row)
        if one == other:
            return self.present(row)
        second_name = self.called(other)
        question = self.fill(self.pick(TWO), one, b=second_name[0], m=second_name[1])
        found = [finding for finding in (first, second) if finding]
        return question, self.yes(*found) if found else self.none(row, one, other), ("two", None, bool(found))

    def listed(self, row, findings, nothing):
        if not findings:
            return sentence(nothing + self.here(row))
        return " ".join(sentence(detailed(finding)) for finding in findings)

    def everything(self, row):
        return self.words(ALL, ALL_HELD), self.listed(row, row["findings"], "nothing abnormal"), ("all", None, bool(row["findings"]))

    def normal(self, row):
        found = row["findings"]
        answer = "No: " + self.yes(*found)[5:] if found else sentence("yes, nothing abnormal" + self.here(row))
        return self.pick(NORMAL), answer, ("normal", None, bool(found))

    def lungs(self, row):
        found = [finding for finding in row["findings"] if finding["finding"] in IN_LUNGS]
        if self.rng.random() < 0.5:
            answer = "No: " + self.yes(*found)[5:] if found else sentence("yes, the lungs are clear" + self.here(row))
            return self.pick(LUNGS_NORMAL), answer, ("normal", None, bool(found))
        return self.pick(LUNGS), self.listed(row, found, "the lungs are clear"), ("lungs", None, bool(found))

    def at_side(self, row):
        side, of_lung = self.pick(["left", "right"]), self.rng.random() < 0.4
        found = [finding for finding in row["findings"] if finding.get("side") in (side, "bilateral")
                 and (finding["finding"] in IN_LUNGS or not of_lung)]
        nothing = f"the {side} lung is clear" if of_lung else f"nothing abnormal on the {side}"
        question = self.pick(AT_LUNG if of_lung else AT_SIDE).format(s=side)
        return question, self.listed(row, found, nothing), ("at side", None, bool(found))

    def devices(self, row):
        if row["kind"] == "ct":
            return self.pick(TUBES), CANNOT, ("cannot", None, True)
        found = [finding for finding in row["findings"] if finding["finding"] in DEVICES]
        return self.pick(TUBES), self.yes(*found) if found else "No device.", ("devices", None, bool(found))

    def kind(self, row):
        return self.pick(KIND), "A CT slice of the chest." if row["kind"] == "ct" else "A chest radiograph.", ("kind", None, True)

    def cannot(self, row):
        """What is not to be told."""
        lot = self.rng.random()
        if lot < 0.4:
            thing = self.words(STRANGE, STRANGE_HELD)
        elif lot < 0.5 and not self.held:
            thing = self.invented()
        elif lot < 0.6 and row["kind"] == "ct":
            code = self.pick([code for code in NAMES if code not in ON_CT])
            return self.fill(self.words(PRESENT, PRESENT_HELD), code), CANNOT, ("cannot", None, True)
        else:
            return self.words(BEYOND, BEYOND_HELD), CANNOT, ("cannot", None, True)
        bare = re.sub("^(an?|any) ", "", thing)
        templates = [ON_SIDE, WHERE, HOW_LARGE, PRESENT, PRESENT, PRESENT, PRESENT]
        template = self.pick(PRESENT_HELD) if self.held else self.pick(self.pick(templates))
        side = self.pick(["left", "right"])
        question = template.format(a=thing, n=bare, N=sentence(bare)[:-1], s=side, S=side.capitalize())
        return question, CANNOT, ("cannot", None, True)

    def invented(self):
        """A word that sounds like one of medicine's."""
        word = "".join(self.pick(SYLLABLES) for _ in range(int(self.rng.integers(1, 4)))) + self.pick(ENDINGS)
        return self.pick(["a ", "a ", "an ", ""]) + word

    def ask(self, row):
        """A question, its answer, and what it was about."""
        lot = self.rng.random()
        for share, make in ((0.24, self.present), (0.22, self.on_side), (0.12, self.where), (0.04, self.how_large), (0.04, self.two),
                            (0.08, self.everything), (0.03, self.normal), (0.02, self.lungs), (0.03, self.at_side), (0.02, self.devices), (0.01, self.kind),
                            (1.0, self.cannot)):
            lot -= share
            if lot < 0:
                return make(row)

    def typed(self, question):
        """As people type it: carelessly at times."""
        lot = self.rng.random()
        if lot < 0.2:
            question = question.lower()
        elif lot < 0.23:
            question = question.upper()
        if self.rng.random() < 0.2:
            question = question.rstrip("?.")
        lot = self.rng.random()
        if lot < 0.04:
            question = "Please: " + question
        elif lot < 0.08:
            question = question.rstrip("?.") + self.pick([" please?", ", please", " pls", "??", " ?"])
        if self.rng.random() < 0.08 and len(question) > 8:
            at = int(self.rng.integers(2, len(question) - 2))
            if question[at].isalpha() and question[at + 1].isalpha():
                change = self.pick([question[at + 1] + question[at], question[at], question[at] * 2 + question[at + 1]])
                question = question[:at] + change + question[at + 2:]
        return question

    def describe(self, row):
        """The whole picture in sentences."""
        what = "CT slice of the chest" if row["kind"] == "ct" else "Chest radiograph"
        return f"{what}. {self.listed(row, row['findings'], 'nothing abnormal')}", ("describe", None, bool(row["findings"]))
