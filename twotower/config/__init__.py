"""From a composed config to plain data and objects: who may be built, overrides, the folder of choices."""
