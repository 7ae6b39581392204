"""One protocol for any precipitation product: held against one reference, on one page."""
