"""What the finished calls have in common: outcomes and whose fault, latencies, silences, tools and money.

`facts` notes it of one call, record by record; `outcomes` says how the call ended and because of whom; `store` keeps a
narrow row of each call beside the index; `query` adds the rows up in SQL; `routes` are the addresses.
"""
