"""The vocabulary of the generated shop: what it sells, in which styles, and to whom; plain ASCII without quotes."""

# category: (typical price, materials, nouns, what it is for)
CATEGORIES = {
    "Lighting": (
        60,
        "Oak Brass Glass Linen Iron Paper",
        "Reading Lamp,Floor Lamp,Pendant,Wall Light,Lantern,Night Light,Desk Lamp",
        "a warm corner",
    ),
    "Furniture": (
        180,
        "Oak Walnut Rattan Pine Velvet Steel",
        "Side Table,Armchair,Bookcase,Stool,Bench,Coat Stand,Sideboard",
        "rooms that are lived in",
    ),
    "Kitchen": (
        35,
        "Copper Stoneware Beech Enamel Steel Glass",
        "Saucepan,Mixing Bowl,Chopping Board,Colander,Kettle,Pepper Mill,Pie Dish",
        "everyday cooking",
    ),
    "Bedding": (
        55,
        "Linen Cotton Wool Down Bamboo Flannel",
        "Duvet Cover,Pillow,Blanket,Quilt,Sheet Set,Throw,Mattress Pad",
        "long nights",
    ),
    "Garden": (
        30,
        "Terracotta Cedar Zinc Willow Jute Slate",
        "Planter,Watering Can,Bird Feeder,Trellis,Trug,Seed Tray,Garden Fork",
        "green fingers",
    ),
    "Trail": (
        45,
        "Merino Nylon Canvas Fleece Titanium Cork",
        "Socks,Rucksack,Shell Jacket,Trekking Poles,Water Bottle,Head Torch,Bivvy Bag",
        "a day in the hills",
    ),
    "Running": (
        50,
        "Mesh Knit Carbon Gel Light Reflective",
        "Shoes,Shorts,Race Vest,Cap,Arm Band,Tights,Windbreaker",
        "the miles before work",
    ),
    "Toys": (
        22,
        "Wooden Felt Plush Tin Cardboard Magnetic",
        "Train Set,Puzzle,Bear,Building Blocks,Kite,Puppet,Board Game",
        "rainy afternoons",
    ),
    "Stationery": (
        14,
        "Leather Kraft Recycled Marbled Cloth Cotton",
        "Notebook,Fountain Pen,Desk Planner,Card Set,Pencil Case,Letter Tray,Sketchbook",
        "thoughts worth keeping",
    ),
    "Bath": (
        20,
        "Terry Olive Cedar Marble Waffle Sea Salt",
        "Bath Towel,Soap Bar,Robe,Bath Mat,Soap Dish,Body Brush,Candle",
        "a slow evening",
    ),
    "Bags": (
        70,
        "Leather Canvas Waxed Suede Felt Cork",
        "Tote,Satchel,Weekender,Wallet,Backpack,Washbag,Messenger Bag",
        "getting about",
    ),
    "Audio": (
        110,
        "Walnut Aluminium Wireless Ceramic Compact Valve",
        "Speaker,Headphones,Turntable,Radio,Earbuds,Amplifier,Record Stand",
        "listening properly",
    ),
    "Tea and Coffee": (
        18,
        "Porcelain Glass Enamel Copper Cast Iron Stoneware",
        "Teapot,Pour Over Set,Tea Caddy,Coffee Jar,Mug,Hand Grinder,Tea Strainer",
        "the first cup",
    ),
    "Pets": (
        24,
        "Wicker Rope Fleece Leather Ceramic Tweed",
        "Dog Bed,Cat Tunnel,Collar,Feeding Bowl,Lead,Scratching Post,Carrier",
        "the other members of the family",
    ),
    "Knitwear": (
        75,
        "Merino Lambswool Alpaca Cashmere Cotton Mohair",
        "Jumper,Cardigan,Beanie,Scarf,Gloves,Roll Neck,Tank Top",
        "cold mornings",
    ),
    "Books": (
        16,
        "Illustrated Annotated Pocket Collected Bound Signed",
        "Atlas,Cookbook,Novel,Field Guide,Biography,Anthology,Almanac",
        "the chair by the window",
    ),
}

# style: (adjectives, how the text describes it)
STYLES = {
    "minimal": ("Plain Slim Matte Clear Quiet Pale", "Clean lines and nothing to spare"),
    "rustic": ("Rustic Rough Farmhouse Weathered Hearth Hand Made", "Made slowly and meant to show it"),
    "retro": ("Retro Sixties Classic Vintage Heritage Old School", "A shape your parents would know"),
    "bold": ("Bright Bold Striped Neon Dotted Patchwork", "Colour first and questions later"),
    "fine": ("Fine Gilded Signature Polished Reserve Atelier", "Finished by hand to a fine standard"),
}
COLOURS = ["Sage", "Rust", "Navy", "Ochre", "Charcoal", "Cream", "Teal", "Plum", "Moss", "Brick", "Sand", "Sky"]
TWO_WORDS = ("Hand Made", "Old School", "Sea Salt", "Cast Iron")  # written with a space, yet one word of a list

# country: (share of people, hours ahead of UTC in winter)
COUNTRIES = {
    "Germany": (0.24, 1),
    "France": (0.18, 1),
    "United Kingdom": (0.18, 0),
    "Netherlands": (0.10, 1),
    "Spain": (0.08, 1),
    "Poland": (0.07, 1),
    "United States": (0.10, -6),
    "Canada": (0.05, -5),
}
GENDERS = {"female": 0.5, "male": 0.46, "other": 0.04}
OCCUPATIONS = ["student", "teacher", "engineer", "nurse", "artist", "clerk", "manager", "cook", "driver", "retired"]
DEVICES = {"mobile": 0.56, "desktop": 0.36, "tablet": 0.08}


def words(text: str) -> list[str]:
    """The list written in ``text``, keeping the few pairs that belong together."""
    for pair in TWO_WORDS:
        text = text.replace(pair, pair.replace(" ", "_"))
    return [word.replace("_", " ") for word in text.split()]
