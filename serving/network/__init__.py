"""How processes reach each other: addresses, certificates, connections that outlive them."""
