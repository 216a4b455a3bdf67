"""What commands share: flags, configs by name, errors as sentences, progress."""
