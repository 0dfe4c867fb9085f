"""What a scheduler needs in a script: header, signals, variables."""
