"""Decisions about single images, and what helps people make them.

deciding.py           making and withdrawing decisions
initial_decisions.py  automatic decisions, before a stage first reads a collection
parameters.py         writing thresholds into params.yaml
duplicates.py         finding duplicate and similar pictures
duplicate_groups.py   groups of such pictures, to choose the one that stays
pictures.py           the pictures of a data set or folder, with the verdicts on them
placement.py          where the stages have put them
explaining.py         the verdicts on one of them, in order and in words
left_out.py           how many are kept and left out, by reason and collection
left_out_page.py      a page that shows what is left out
exporting.py          a data set as a folder that other programs read
export_table.py       its files as one table
asking.py             why a file is kept or left out, in each data set
"""
