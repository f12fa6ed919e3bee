//! The classes of `glyphs`: characters of six scripts, each shape in one class only.

/// A writing system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub enum Script {
    /// Latin letters, including those of African languages and of phonetics.
    Latin,
    /// Cyrillic letters, including historic ones.
    Cyrillic,
    /// Greek letters, including archaic ones.
    Greek,
    /// Hebrew letters, including final forms.
    Hebrew,
    /// Armenian letters.
    Armenian,
    /// Georgian letters (Mkhedruli).
    Georgian,
}

impl Script {
    /// All scripts, in the order of their classes.
    pub const ALL: [Self; 6] = [Self::Latin, Self::Cyrillic, Self::Greek, Self::Hebrew, Self::Armenian, Self::Georgian];

    /// The script's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latin => "latin",
            Self::Cyrillic => "cyrillic",
            Self::Greek => "greek",
            Self::Hebrew => "hebrew",
            Self::Armenian => "armenian",
            Self::Georgian => "georgian",
        }
    }

    /// The characters of this script that are classes: the letters that look like no earlier letter, whether that letter is
    /// a class or not.
    pub(crate) fn characters(self) -> &'static str {
        match self {
            Self::Latin => {
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghijklmnqrtuvyÆŒØÞŊƆƎƏƐƔƩƱƲƷƂƄƋƜƦƧȢȜɁæœøþðŋßƍƕƛƺƾƿɂɐɑɒɘɜɞɤɥɮɷɸɹɺɾʁʃʌʍʎʚʞʬ"
            }
            Self::Cyrillic => "ГДЖЙЛУФЦЧЩЪЫЭЮЯбЂЄЉЊЋђѠѢѤѦѨѪѬѮѰѲѶѸѺѼҀҐҖҘҚҤҪҲҶҺҼҾӃӅӇѣѱѹҁҕҟҡҩҵ",
            Self::Greek => "ΔΞΩβδζθμνξπςστυφωϐϖϗϘϚϛϝϞϠϡϱϺϻͰͱͲ",
            Self::Hebrew => "אבגדהוזטיךלםמןנעףפץצקרשת",
            Self::Armenian => "ԱԲԳԴԵԶԷԸԹԺԻԽԾԿՀՁՂՃՅՆՇՈՉՊՋՎՒՔՖըթիլխծկձմյշչջվքև",
            Self::Georgian => "აბდვზთკლოპჟრსუფქღყძწჭჯჰჱჲჳჴჵჶჷჸჺ",
        }
    }
}

/// The name of a character's class: script, code point, the character, as in `latin U+0041 A`.
pub(crate) fn class_name(script: Script, character: char) -> String {
    format!("{} U+{:04X} {character}", script.name(), u32::from(character))
}

#[cfg(test)]
mod tests {
    use super::super::faces::TYPEFACES;
    use super::super::{GlyphPart, shape};
    use super::*;

    /// All considered letters in order. Of letters with the same shape, the first is the class.
    ///
    /// The letter ȷ is left out, because New Computer Modern Math Bold draws it as the regular faces do.
    fn candidates(script: Script) -> &'static str {
        match script {
            Script::Latin => {
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzÆŒØÞÐŊƆƎƏƐƔƖƩƱƲƷƂƄƋƜƦƧȢȜɁæœøþðŋĸſıßƍƕƛƞƨƪƺƾƿȝɂɐɑɒɔəɘɛɜɞɤɥɮɯɷɸɹɺɾʀʁʃʊʌʍʎʒʔʘʚʞʬ"
            }
            Script::Cyrillic => {
                "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюяЂЄІЇЈЉЊЋЏђєіїјљњћџѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҐҒҖҘҚҢҤҪҮҰҲҶҸҺҼҾӀӃӅӇӘӠӨѡѣѥѧѩѫѭѯѱѳѵѹѻѽѿҁґғҕҗҙқҝҟҡңҥҩҫүұҳҵҷҹһҽәӡөԐ"
            }
            Script::Greek => "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρςστυφχψωϐϑϒϕϖϗϘϙϚϛϜϝϞϟϠϡϰϱϵϷϸϺϻͰͱͲͳͶͷ",
            Script::Hebrew => "אבגדהוזחטיךכלםמןנסעףפץצקרשת",
            Script::Armenian => "ԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆև",
            Script::Georgian => "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴჵჶჷჸჹჺ",
        }
    }

    #[test]
    fn each_shape_is_one_class() {
        // A letter that looks like a dropped letter is dropped too: с looks like c, and c like C.
        let mut before = Vec::<(char, Vec<Option<shape::Shape>>)>::new();
        let mut wrong = Vec::new();
        for script in Script::ALL {
            let mut chosen = String::new();
            for letter in candidates(script).chars() {
                let shapes = shape::shapes(letter).unwrap();
                if !before.iter().any(|(other, others)| shape::look_alike((letter, &shapes), (*other, others))) {
                    chosen.push(letter);
                }
                before.push((letter, shapes));
            }
            if chosen != script.characters() {
                wrong.push(format!("{} should be \"{chosen}\" ({})", script.name(), chosen.chars().count()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_class_has_faces_for_training_and_others_for_testing() {
        let mut shared = Vec::new();
        for letter in Script::ALL.iter().flat_map(|script| script.characters().chars()) {
            let shapes = shape::shapes(letter).unwrap();
            let of = |part: GlyphPart| {
                (shapes.iter().zip(&TYPEFACES))
                    .filter(move |(_, face)| face.part == part)
                    .filter_map(|(shape, _)| *shape)
            };
            assert!(of(GlyphPart::Train).count() >= 2 && of(GlyphPart::Test).count() >= 2, "{letter}");
            for (index, test) in
                shapes.iter().enumerate().filter(|(index, _)| TYPEFACES[*index].part == GlyphPart::Test)
            {
                let same = |(other, train): &(usize, &Option<shape::Shape>)| {
                    TYPEFACES[*other].part == GlyphPart::Train && train.is_some() && *train == test
                };
                if let Some((other, _)) = shapes.iter().enumerate().find(same) {
                    shared.push(format!("{letter}: {} draws as {}", TYPEFACES[index].name, TYPEFACES[other].name));
                }
            }
        }
        assert!(shared.is_empty(), "{}", shared.join("\n"));
    }
}
