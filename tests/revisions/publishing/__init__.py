"""Publishing, and bringing together what several people published."""
