"""Who reaches the page: from which addresses, with which password, and with how much to upload."""
