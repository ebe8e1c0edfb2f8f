"""The items of a release as they can be searched: the contract, exact search, ScaNN, the bundle
on disk.
"""
