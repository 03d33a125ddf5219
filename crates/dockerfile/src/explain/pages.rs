//! The pages of `docs/rules`.

macro_rules! pages {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../../docs/rules/", $name, ".md")))),+]
    };
}

/// Rules by name, with the text of their page.
pub(super) const PAGES: [(&str, &str); 32] = pages![
    "ConsistentInstructionCasing",
    "CopyIgnoredFile",
    "DuplicateStageName",
    "ExposeInvalidFormat",
    "ExposeProtoCasing",
    "FromAsCasing",
    "FromPlatformFlagConstDisallowed",
    "InvalidBaseImagePlatform",
    "InvalidDefaultArgInFrom",
    "InvalidDefinitionDescription",
    "JSONArgsRecommended",
    "LegacyKeyValueFormat",
    "MaintainerDeprecated",
    "MultipleInstructionsDisallowed",
    "NoEmptyContinuation",
    "RedundantTargetPlatform",
    "ReservedStageName",
    "SecretsUsedInArgOrEnv",
    "StageNameCasing",
    "UndefinedArgInFrom",
    "UndefinedVar",
    "WorkdirRelativePath",
    "kiln.AddForCopy",
    "kiln.CacheBust",
    "kiln.EarlyArg",
    "kiln.PackageCache",
    "kiln.PipeFail",
    "kiln.SecretFile",
    "kiln.SecretValue",
    "kiln.StageTypo",
    "kiln.StaleLists",
    "kiln.UnpinnedBase",
];
