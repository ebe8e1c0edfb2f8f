"""Lists of other systems, measured by the protocol of ours."""
