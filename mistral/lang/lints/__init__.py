"""Advice on definitions that are right but may not mean what they say
(spec/language.md, Appendix C). Advice never refuses a definition."""
