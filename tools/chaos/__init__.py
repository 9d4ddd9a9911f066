"""The fault campaign: real services, a mixed load, faults from a seeded schedule, and a
judge who compares what the database and a ledger outside say with what the language
says.

===================  =====================================================
``__main__``         the command: rounds of load, faults and judgement
``cluster``          the services as processes, each behind wires of its own
``wire``             a TCP proxy that does what networks do
``frames``           messages among the bytes of a broker
``broker``           what can be done to a virtual host
``stores``           what can be done to connections of a database
``private``          a database, with a standby, and a broker of the campaign's own
``clocks``           clocks on the wall of single processes
``disks``            small disks under single processes
``schedule``         which fault happens when, from a seed
``faults``           what each kind of fault does
``ledger``           where actions write down that they ran
``flows``            the workflows of the load, and what must come of each
``hops``             all messages of one hop are lost for a while
``users``            who starts, pauses, answers, resumes and reruns them
``judge``            whether all came as it had to
``report``           what is said of it, as Markdown and as JSON
===================  =====================================================
"""
