"""A folder of photographs before training: what it holds, what is wrong with it, and the manifest that training reads.

files -> `folder` (read each once) -> `duplicates` -> `report`. `signs` says what one file gives away of its past.
"""
