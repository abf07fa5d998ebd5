"""A trained model in the forms that other libraries open, each in a module that imports its library when it is used."""
