"""Looking after what got stuck, deleting what is past its time, and telling how the day was."""
