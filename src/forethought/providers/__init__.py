"""Remote and local chat models behind one seam."""
