"""Kill the service again and again while clients use it: nothing acknowledged may be lost, doubled or wrong."""
