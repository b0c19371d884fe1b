"""Stages made on other machines.

On the machine that has the registry:

crew.py            the workers, as `dvc_repo` sees them
dask_engine.py     orders carried by Dask
command_engine.py  orders carried by a command of the user's

On a worker:

dask_worker.py  an order as a task of Dask's
worker.py       carrying out an order
place.py        the folder of this machine's workers: work trees and a cache
guard.py        ending commands whose worker was killed

On both:

orders.py       what travels to a worker and back
versions.py     the versions that results depend on
"""
